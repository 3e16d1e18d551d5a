// Chat templates: a sandboxed subset of Jinja2 with the settings of Hugging Face transformers.
// A template sees nothing but the data it is given: no I/O, no attributes of the host, no clock but
// the caller's. Its output equals Jinja2's 3.1 for the subset (tests/data/templates/vectors.json).
//
// Not in the subset: include, import, extends, block, recursive loops, varargs and kwargs of
// macros, autoescape, groupby, urlize and other filters for web pages, integers beyond 64 bits.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "nlohmann/json.hpp"
#include "server/template/limits.h"

namespace headgate {

// A stretch of rendered text. Only template text may be tokenized with special tokens: text that
// derives from the request must never become a control token, whatever it says.
struct RenderedPiece {
  std::string text;
  bool from_template = false;

  bool operator==(const RenderedPiece&) const = default;
};

// Context entries whose text counts as the template's own.
inline constexpr std::string_view kSpecialTokenKeys[] = {"bos_token", "eos_token", "pad_token",
                                                         "unk_token"};

// Immutable; any number of threads may render at once. Cheap to copy.
class ChatTemplate {
 public:
  // INVALID_ARGUMENT with the line when `source` is no template of the subset.
  static absl::StatusOr<ChatTemplate> Parse(std::string_view source,
                                            const TemplateLimits& limits = {});

  // `context` is the object whose entries are the template's variables (messages,
  // add_generation_prompt, tools, bos_token, ...). The caller must not let a request set one of
  // `trusted_keys`. Neighbouring pieces differ in provenance and none is empty.
  // INVALID_ARGUMENT when the template raises or does something that Jinja2 refuses (the message
  // may quote the request: do not log it), RESOURCE_EXHAUSTED when it passes a limit.
  absl::StatusOr<std::vector<RenderedPiece>> Render(
      const nlohmann::ordered_json& context, const Clock& clock,
      std::span<const std::string_view> trusted_keys = kSpecialTokenKeys) const;

 private:
  struct Parsed;
  explicit ChatTemplate(std::shared_ptr<const Parsed> parsed) : parsed_(std::move(parsed)) {}

  std::shared_ptr<const Parsed> parsed_;
};

// The whole text.
std::string JoinPieces(const std::vector<RenderedPiece>& pieces);

}  // namespace headgate
