// Text to tokens, as the Hugging Face file tokenizer.json says (byte-level BPE, and
// SentencePiece-style BPE with byte fallback). The keys `truncation` and `padding` are not applied:
// lengths are the caller's business. Immutable after Load: any thread may call any method.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/ids.h"
#include "server/tokenizer/added_tokens.h"
#include "server/tokenizer/bpe_model.h"
#include "server/tokenizer/decoder.h"
#include "server/tokenizer/json_node.h"
#include "server/tokenizer/normalizer.h"
#include "server/tokenizer/post_processor.h"
#include "server/tokenizer/pre_tokenizer.h"
#include "server/tokenizer/vocabulary.h"

namespace headgate {

// One piece of a text. Pieces are joined and tokenized as one text; only where special tokens may
// be found differs.
struct TextPiece {
  std::string_view text;
  // May special tokens be found here? True for the literals of a chat template; false for what a
  // user wrote, where "<|im_start|>" gives ordinary tokens. A special token that reaches from a
  // true piece into a false one is not found.
  bool parse_special = false;
};

struct EncodeOptions {
  bool add_special = true;              // put the post-processor's tokens (BOS) around the text
  size_t max_bytes = size_t{16} << 20;  // longer text is refused; at most 2^28
};

class Tokenizer final {
 public:
  // Reads model_dir/tokenizer.json. INVALID_ARGUMENT, or as ReadSmallFile and
  // ParseStrictJson; names file and key.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const std::string& model_dir);

  // The same from the file's content.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view json);

  // INVALID_ARGUMENT when the text is too long or not UTF-8. RESOURCE_EXHAUSTED when a regex hit
  // its limits. Time is O(n log n), memory O(n).
  absl::StatusOr<std::vector<TokenId>> Encode(absl::Span<const TextPiece> pieces,
                                              const EncodeOptions& options) const;

  // One piece in which special tokens are not found.
  absl::StatusOr<std::vector<TokenId>> Encode(std::string_view text,
                                              const EncodeOptions& options) const;

  // The bytes one token stands for: not always whole characters; for a special token its name.
  // Empty for an id that is no token. Lives as long as the tokenizer.
  std::string_view TokenBytes(TokenId id) const;

  // Control tokens: found only where the caller allows it, and not part of decoded text.
  bool IsSpecial(TokenId id) const { return added_.special_ids().contains(id); }

  // One more than the highest id. A model's vocab_size may be larger (padding).
  int64_t vocab_size() const { return vocabulary_.size(); }

  // The id of a token by its text as in tokenizer.json, such as "<|im_end|>".
  std::optional<TokenId> IdOf(std::string_view text) const { return vocabulary_.IdOf(text); }

  // What decoding drops at the beginning of a text (SentencePiece's leading space).
  const LeadingStrip& leading_strip() const { return decoder_.strip(); }

 private:
  Tokenizer() = default;
  static absl::StatusOr<std::unique_ptr<Tokenizer>> ParseFile(std::string_view json,
                                                              const std::string& file);
  static absl::StatusOr<std::unique_ptr<Tokenizer>> FromDocument(const JsonNode& root);
  absl::Status AddAddedTokens();
  absl::Status CheckIds(const JsonNode& root) const;
  void FillTokenBytes();
  absl::Status EncodeStretch(std::string_view text, bool at_start, BpeScratch* scratch,
                             std::vector<TokenId>* ids) const;

  Vocabulary vocabulary_;
  Normalizer normalizer_;
  PreTokenizer pre_tokenizer_;
  AddedTokens added_;
  std::optional<BpeModel> model_;
  PostProcessor post_processor_;
  Decoder decoder_;
  std::vector<std::string> token_bytes_;  // by id
};

}  // namespace headgate
