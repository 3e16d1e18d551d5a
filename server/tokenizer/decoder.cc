#include "server/tokenizer/decoder.h"

#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/absl_view.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "server/tokenizer/byte_alphabet.h"

namespace headgate {
namespace {

constexpr int64_t kStripMax = 64;
constexpr std::string_view kDefaultMark = "\u2581";

// The byte of "<0xHH>", or nullopt.
std::optional<char> FallbackByte(std::string_view token) {
  uint32_t byte = 0;
  if (token.size() != 6 || token.substr(0, 3) != "<0x" || token[5] != '>' ||
      !absl::SimpleHexAtoi(AbslView(token.substr(3, 2)), &byte) || byte > 0xFF) {
    return std::nullopt;
  }
  return static_cast<char>(byte);
}

}  // namespace

absl::Status Decoder::ParseReplace(const JsonNode& node) {
  ASSIGN_OR_RETURN(const JsonNode pattern, node.At("pattern"));
  ASSIGN_OR_RETURN(std::string from, pattern.String("String"));
  ASSIGN_OR_RETURN(std::string to, node.String("content"));
  if (from.empty()) return pattern.Error("String", "must not be empty");
  if (fused_) return node.Error("", "after Fuse is not supported");
  replacements_.emplace_back(std::move(from), std::move(to));
  return absl::OkStatus();
}

absl::Status Decoder::ParseStrip(const JsonNode& node) {
  ASSIGN_OR_RETURN(const std::string content, node.String("content"));
  ASSIGN_OR_RETURN(const int64_t start, node.Integer("start"));
  ASSIGN_OR_RETURN(const int64_t stop, node.Integer("stop"));
  if (!fused_) return node.Error("", "before Fuse is not supported");
  if (stop != 0) return node.Error("stop", "must be 0: the end of a stream cannot be stripped");
  if (!(0 <= start && start <= kStripMax)) return node.Error("start", "is out of range");
  if (content.empty() || Utf8CharacterSize(content, 0) != content.size()) {
    return node.Error("content", "must be one character");
  }
  if (strip_.count != 0) return node.Error("", "is a second Strip, which is not supported");
  strip_ = {content, start};
  return absl::OkStatus();
}

absl::Status Decoder::ParseMetaspace(const JsonNode& node) {
  std::string mark(kDefaultMark);
  if (node.Has("replacement")) {
    ASSIGN_OR_RETURN(mark, node.String("replacement"));
  }
  if (mark.empty()) return node.Error("replacement", "must not be empty");
  ASSIGN_OR_RETURN(bool strips, node.Bool("add_prefix_space", true));
  if (node.Has("prepend_scheme")) {
    ASSIGN_OR_RETURN(const std::string scheme, node.String("prepend_scheme"));
    strips = scheme != "never";
  }
  replacements_.emplace_back(std::move(mark), " ");
  if (strips) strip_ = {" ", 1};
  return absl::OkStatus();
}

absl::Status Decoder::ParseStep(const JsonNode& node, int depth) {
  if (depth > kNestingMax) return node.Error("", "is nested too deeply");
  ASSIGN_OR_RETURN(const std::string type, node.String("type"));
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.List("decoders"));
    for (const JsonNode& part : parts) RETURN_IF_ERROR(ParseStep(part, depth + 1));
    return absl::OkStatus();
  }
  if (type == "Replace") return ParseReplace(node);
  if (type == "Strip") return ParseStrip(node);
  if (type == "Metaspace") return ParseMetaspace(node);
  if (type == "ByteLevel") {
    byte_level_ = true;
  } else if (type == "ByteFallback") {
    byte_fallback_ = true;
  } else if (type == "Fuse") {
    fused_ = true;
  } else {
    return node.Error("type", absl::StrCat("\"", type,
                                           "\" is not supported; supported decoders: ByteLevel, "
                                           "Metaspace, Replace, ByteFallback, Fuse, Strip, "
                                           "Sequence"));
  }
  return absl::OkStatus();
}

absl::StatusOr<Decoder> Decoder::Parse(const JsonNode& root) {
  if (!root.Has("decoder")) return root.Error("decoder", "is missing or null, not supported");
  ASSIGN_OR_RETURN(const JsonNode node, root.At("decoder"));
  Decoder decoder;
  RETURN_IF_ERROR(decoder.ParseStep(node, 0));
  if (decoder.byte_level_ && (decoder.byte_fallback_ || !decoder.replacements_.empty())) {
    return node.Error("", "joins ByteLevel with ByteFallback or Replace, which is not supported");
  }
  return decoder;
}

std::string Decoder::TokenBytes(std::string_view token) const {
  if (byte_level_) return FromByteAlphabet(token).value_or(std::string(token));
  if (byte_fallback_) {
    if (const auto byte = FallbackByte(token)) return std::string(1, *byte);
  }
  std::string text(token);
  for (const auto& [from, to] : replacements_) text = absl::StrReplaceAll(text, {{from, to}});
  return text;
}

}  // namespace headgate
