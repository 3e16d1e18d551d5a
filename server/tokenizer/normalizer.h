// The normalizer of tokenizer.json: rewrites a stretch of text before it is cut and merged.
// Supported: null, Sequence, Prepend, Replace, NFC. Immutable: any thread may call Apply.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/tokenizer/json_node.h"
#include "server/tokenizer/regex.h"

namespace headgate {

class Normalizer final {
 public:
  // `root` is the whole document. INVALID_ARGUMENT names an unsupported type.
  static absl::StatusOr<Normalizer> Parse(const JsonNode& root);

  bool is_identity() const { return steps_.empty(); }

  // REQUIRES: text is well-formed UTF-8, and so is the result. Time and memory are linear in the
  // text but for sorting runs of combining marks (n log n). RESOURCE_EXHAUSTED: see regex.h.
  absl::StatusOr<std::string> Apply(std::string_view text) const;

 private:
  struct Prepend {
    std::string text;
  };
  struct Replace {
    Regex pattern;
    std::string content;
  };
  struct Nfc {};
  using Step = std::variant<Prepend, Replace, Nfc>;

  static absl::Status ParseStep(const JsonNode& node, int depth, std::vector<Step>* steps);

  std::vector<Step> steps_;
};

}  // namespace headgate
