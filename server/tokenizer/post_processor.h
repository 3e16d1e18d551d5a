// The post_processor of tokenizer.json: the special tokens that stand around a text.
// Supported: null, ByteLevel (changes no ids), TemplateProcessing, Sequence. Immutable.
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "server/tokenizer/json_node.h"

namespace headgate {

struct PostProcessor {
  std::vector<TokenId> prefix;  // usually BOS
  std::vector<TokenId> suffix;  // usually nothing

  // `root` is the whole document. INVALID_ARGUMENT names what is unsupported.
  static absl::StatusOr<PostProcessor> Parse(const JsonNode& root);
};

}  // namespace headgate
