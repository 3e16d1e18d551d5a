// Tokens to text while they arrive: what comes out is always whole characters. One stream each;
// belongs to one thread.
#pragma once

#include <string>

#include "absl/types/span.h"
#include "base/ids.h"
#include "base/utf8.h"
#include "server/tokenizer/tokenizer.h"

namespace headgate {

struct DetokenizeOptions {
  bool skip_special = true;  // special tokens give no text
  // The tokens begin a text, so SentencePiece's leading space is dropped. False when they go on
  // from a prompt that has text of its own: then " world" keeps its space.
  bool at_text_start = true;
};

class IncrementalDetokenizer final {
 public:
  // `tokenizer` outlives this.
  IncrementalDetokenizer(const Tokenizer& tokenizer, const DetokenizeOptions& options);

  // The text that became certain with this token: well-formed UTF-8, often empty inside a
  // character. Broken sequences give U+FFFD as soon as they are known to be broken. An id that is
  // no token gives nothing.
  std::string Push(TokenId id);

  // End of stream: U+FFFD for an unfinished character, else empty.
  std::string Finish();

 private:
  void Strip(std::string* text);

  const Tokenizer& tokenizer_;
  const bool skip_special_;
  int64_t strip_left_;  // leading characters that may still be dropped
  Utf8Repair repair_;
};

// The whole text at once: the concatenation of what the stream would give.
std::string Decode(const Tokenizer& tokenizer, absl::Span<const TokenId> ids,
                   const DetokenizeOptions& options);

}  // namespace headgate
