// The pre_tokenizer of tokenizer.json: cuts normalized text into words; merging never crosses a
// word. Supported: null, Sequence, ByteLevel (last), Split, Digits, Metaspace. Immutable: any
// thread may call Cut.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "server/tokenizer/json_node.h"
#include "server/tokenizer/split.h"

namespace headgate {

class PreTokenizer final {
 public:
  // The view is valid during the call only.
  using WordSink = absl::FunctionRef<void(std::string_view word)>;

  // `root` is the whole document. INVALID_ARGUMENT names an unsupported type.
  static absl::StatusOr<PreTokenizer> Parse(const JsonNode& root);

  // Do words stand for bytes, each written as a character of the byte alphabet (byte_alphabet.h)?
  // Cut hands out the plain bytes.
  bool byte_level() const { return byte_level_; }

  // Cuts `text`, a stretch between added tokens, into words and hands them to `sink` in order.
  // `at_start`: the stretch begins where the whole text begins. Holds no copy of the text but the
  // ones that Metaspace and add_prefix_space make. RESOURCE_EXHAUSTED: see regex.h.
  absl::Status Cut(std::string_view text, bool at_start, WordSink sink) const;

 private:
  struct ByteLevel {
    bool add_prefix_space = false;
    std::optional<Split> split;
  };
  struct Metaspace {
    enum class Prepend { kAlways, kFirst, kNever };
    std::string mark;
    Prepend prepend = Prepend::kAlways;
    std::optional<Split> split;
  };
  using Stage = std::variant<Split, ByteLevel, Metaspace>;

  absl::Status ParseStage(const JsonNode& node, int depth);
  absl::Status ParseByteLevel(const JsonNode& node);
  absl::Status ParseMetaspace(const JsonNode& node);
  absl::Status RunStages(size_t stage, std::string_view text, bool at_start, WordSink sink) const;

  std::vector<Stage> stages_;
  bool byte_level_ = false;
};

}  // namespace headgate
