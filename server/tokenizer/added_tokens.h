// The added_tokens of tokenizer.json: tokens that are found in the text as they stand, before
// anything is cut or merged. Special ones are found only where the caller allows it, so that user
// text never turns into control tokens. Immutable: any thread may search.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/ids.h"
#include "server/tokenizer/json_node.h"
#include "server/tokenizer/normalizer.h"
#include "server/tokenizer/regex.h"
#include "server/tokenizer/token_trie.h"

namespace headgate {

struct AddedToken {
  std::string content;
  TokenId id = 0;
  bool special = false;
  bool normalized = false;   // looked for in normalized text; never so for special tokens
  bool takes_left = false;   // lstrip: the match takes the white space before it along
  bool takes_right = false;  // rstrip
};

class AddedTokens final {
 public:
  // INVALID_ARGUMENT names an unsupported flag. Special tokens are looked for in the raw text even
  // if marked `normalized`: so what counts as one does not depend on what stands around it.
  static absl::StatusOr<AddedTokens> Parse(const JsonNode& root, const Normalizer& normalizer);

  absl::Span<const AddedToken> tokens() const { return tokens_; }
  const absl::flat_hash_set<TokenId>& special_ids() const { return special_ids_; }

  // A stretch of text, or the token found there.
  struct Part {
    std::string_view text;  // of the stretch; empty for a token
    const AddedToken* token = nullptr;
  };
  using PartSink = absl::FunctionRef<absl::Status(const Part& part)>;

  // Cuts raw text at the tokens in it: leftmost first, then longest. A special token counts only if
  // it lies within one of `special_spans` (ascending, disjoint).
  absl::Status CutRaw(std::string_view text, absl::Span<const TextSpan> special_spans,
                      PartSink sink) const;

  // The same for a stretch that has been normalized, and the tokens marked so.
  absl::Status CutNormalized(std::string_view text, PartSink sink) const;

 private:
  absl::Status Cut(const TokenTrie& trie, std::string_view text,
                   absl::Span<const TextSpan> special_spans, PartSink sink) const;

  std::vector<AddedToken> tokens_;
  absl::flat_hash_set<TokenId> special_ids_;
  TokenTrie raw_;
  TokenTrie normalized_;
};

}  // namespace headgate
