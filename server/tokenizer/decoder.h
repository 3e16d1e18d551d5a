// The decoder of tokenizer.json: which bytes a token stands for, and what is cut from the beginning
// of a decoded text. Supported: ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip (from the
// left, after Fuse), Sequence of these. Immutable.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/tokenizer/json_node.h"

namespace headgate {

// Up to `count` copies of `character` vanish from the beginning of a decoded text.
struct LeadingStrip {
  std::string character;
  int64_t count = 0;
};

class Decoder final {
 public:
  // `root` is the whole document. INVALID_ARGUMENT names what is unsupported.
  static absl::StatusOr<Decoder> Parse(const JsonNode& root);

  // The bytes of a token of the model's vocabulary; not always whole characters.
  std::string TokenBytes(std::string_view token) const;

  bool byte_level() const { return byte_level_; }
  const LeadingStrip& strip() const { return strip_; }

 private:
  absl::Status ParseStep(const JsonNode& node, int depth);
  absl::Status ParseReplace(const JsonNode& node);
  absl::Status ParseStrip(const JsonNode& node);
  absl::Status ParseMetaspace(const JsonNode& node);

  bool byte_level_ = false;
  bool byte_fallback_ = false;
  bool fused_ = false;
  std::vector<std::pair<std::string, std::string>> replacements_;
  LeadingStrip strip_;
};

}  // namespace headgate
