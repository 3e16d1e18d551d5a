// A tokenizer for tests: token b is byte b, token 256 is the special end token "<end>".
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>

#include "base/check.h"
#include "base/utf8.h"
#include "server/tokenizer/tokenizer.h"

namespace headgate {

inline constexpr TokenId kEndToken = 256;
inline constexpr int64_t kByteVocab = 257;

inline std::shared_ptr<const Tokenizer> MakeByteTokenizer() {
  nlohmann::json vocab = nlohmann::json::object();
  int spare = 0;
  for (int byte = 0; byte < 256; ++byte) {
    // The printable alphabet of byte-level BPE (Radford et al., 2019).
    const bool printable =
        (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || byte >= 174;
    const int code = printable ? byte : 256 + spare++;
    std::string text;
    AppendUtf8(static_cast<char32_t>(code), &text);
    vocab[text] = byte;
  }
  const nlohmann::json byte_level = {{"type", "ByteLevel"},
                                     {"add_prefix_space", false},
                                     {"trim_offsets", true},
                                     {"use_regex", false}};
  const nlohmann::json end = {{"id", kEndToken},      {"content", "<end>"}, {"special", true},
                              {"single_word", false}, {"lstrip", false},    {"rstrip", false},
                              {"normalized", false}};
  const nlohmann::json root = {
      {"version", "1.0"},
      {"added_tokens", nlohmann::json::array({end})},
      {"normalizer", nullptr},
      {"pre_tokenizer", byte_level},
      {"post_processor", nullptr},
      {"decoder", byte_level},
      {"model", {{"type", "BPE"}, {"vocab", vocab}, {"merges", nlohmann::json::array()}}}};
  auto tokenizer = Tokenizer::Parse(root.dump());
  CHECK(tokenizer.ok()) << tokenizer.status();
  return std::shared_ptr<const Tokenizer>(std::move(*tokenizer));
}

}  // namespace headgate
