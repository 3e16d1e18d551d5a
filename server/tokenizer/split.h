// Cutting a text at the matches of a pattern; what becomes of a match is the behavior's choice.
// Names and meanings are those of tokenizer.json's Split pre-tokenizer. Immutable.
#pragma once

#include <optional>
#include <string_view>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/tokenizer/json_node.h"
#include "server/tokenizer/regex.h"

namespace headgate {

enum class SplitBehavior {
  kRemoved,             // dropped
  kIsolated,            // a piece of its own
  kMergedWithPrevious,  // the end of the piece before it
  kMergedWithNext,      // the beginning of the piece after it
  kContiguous,          // one piece with the matches beside it
};

class Split final {
 public:
  // `invert`: what the pattern does not match counts as the match.
  Split(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  // {"type": "Split", "pattern": ..., "behavior": ..., "invert": ...}
  static absl::StatusOr<Split> Parse(const JsonNode& node);

  // Hands the non-empty pieces of `text` to `sink` in order, until one is refused.
  using PieceSink = absl::FunctionRef<absl::Status(std::string_view piece)>;
  absl::Status Cut(std::string_view text, PieceSink sink) const;

 private:
  Regex pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

}  // namespace headgate
