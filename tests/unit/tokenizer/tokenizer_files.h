// Where the tests' tokenizers and golden answers lie, and how they are read.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/tokenizer/tokenizer.h"
#include "tests/test_files.h"

namespace headgate {

inline std::string DataDir() {
  return std::string(HEADGATE_SOURCE_DIR) + "/tests/data/tokenizers/";
}

inline std::string ReadAll(const std::string& path) {
  EXPECT_TRUE(std::filesystem::is_regular_file(path)) << path;
  return ReadFile(path);
}

// The folder with NAME's tokenizer.json: in the repository, or below HEADGATE_TOKENIZERS (default
// build/tokenizers), where tools/make_tokenizer_vectors/make.py puts what may not be shipped.
// Empty when it is in neither.
inline std::string TokenizerDir(const std::string& name) {
  const char* made = std::getenv("HEADGATE_TOKENIZERS");
  const std::string made_dir =
      made != nullptr ? std::string(made) : std::string(HEADGATE_SOURCE_DIR) + "/build/tokenizers";
  for (const std::string& dir : {DataDir() + name, made_dir + "/" + name}) {
    if (std::filesystem::exists(dir + "/tokenizer.json")) return dir;
  }
  return "";
}

inline std::unique_ptr<Tokenizer> LoadTokenizer(const std::string& name) {
  auto tokenizer = Tokenizer::Load(TokenizerDir(name));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return tokenizer.ok() ? *std::move(tokenizer) : nullptr;
}

inline nlohmann::json ReadJson(const std::string& path) {
  return nlohmann::json::parse(ReadAll(path));
}

inline constexpr EncodeOptions kBare{.add_special = false};

// REQUIRES: the text can be encoded.
inline std::vector<TokenId> EncodeBare(const Tokenizer& tokenizer, std::string_view text) {
  auto ids = tokenizer.Encode(text, kBare);
  EXPECT_TRUE(ids.ok()) << ids.status();
  return ids.ok() ? *ids : std::vector<TokenId>();
}

}  // namespace headgate
