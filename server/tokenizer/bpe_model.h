// Byte pair encoding of one word (Sennrich et al., 2016): start from single characters (or bytes)
// and apply the best-ranked merge until none applies. Reads the model part of tokenizer.json.
// Immutable: any thread may call Encode with its own BpeScratch.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "server/tokenizer/json_node.h"
#include "server/tokenizer/vocabulary.h"

namespace headgate {

// Working memory of BpeModel::Encode, reused from word to word: at most about 60 bytes for each
// byte of the longest word.
struct BpeScratch {
  struct Symbol {
    TokenId id = 0;
    int32_t previous = -1;  // indices of the neighbours that are still there; -1 = none
    int32_t next = -1;
    bool merged_away = false;
  };
  struct Candidate {
    uint32_t rank = 0;     // of the merge; lower goes first
    int32_t position = 0;  // of the left symbol; lower goes first among equal ranks
    TokenId made = 0;
  };
  std::vector<Symbol> symbols;
  std::vector<Candidate> heap;
  int64_t steps = 0;  // candidates looked at so far: the work done, in machine-independent units
};

class BpeModel final {
 public:
  // How a word becomes first symbols.
  enum class Alphabet {
    kCharacters,  // each character is a symbol
    kBytes,       // each byte is one, written as in byte_alphabet.h
  };

  // Reads `root`.model. `reserved` are the ids of special tokens: no text is ever merged into one,
  // whatever the merge table says. The model's vocab is added to `vocabulary`.
  // INVALID_ARGUMENT names what is missing or unsupported.
  static absl::StatusOr<BpeModel> Parse(const JsonNode& root, Alphabet alphabet,
                                        const absl::flat_hash_set<TokenId>& reserved,
                                        Vocabulary* vocabulary);

  // Appends the tokens of `word`. REQUIRES: well-formed UTF-8 of less than 2^31 bytes. A character
  // that is not in the vocabulary becomes its byte tokens, or the unknown token, or nothing: as the
  // file says. O(n log n) time for n bytes.
  void Encode(std::string_view word, BpeScratch* scratch, std::vector<TokenId>* out) const;

 private:
  static constexpr TokenId kNone = -1;

  struct Merge {
    uint32_t rank = 0;
    TokenId made = 0;
  };

  static uint64_t PairKey(TokenId left, TokenId right) {
    return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  }

  BpeModel() = default;
  absl::Status ParseMerges(const JsonNode& model, const Vocabulary& vocabulary,
                           const absl::flat_hash_set<TokenId>& reserved);
  void FillByteTables(const Vocabulary& vocabulary, bool byte_fallback);

  void FirstSymbols(std::string_view word, BpeScratch* scratch) const;
  void PushUnknown(BpeScratch* scratch, bool* after_unknown) const;
  void PushCandidate(int32_t left, BpeScratch* scratch) const;
  void MergeAll(BpeScratch* scratch) const;

  Alphabet alphabet_ = Alphabet::kCharacters;
  absl::flat_hash_map<uint64_t, Merge> merges_;  // key: left id, right id
  // What a character, or with ignore_merges a whole word, is found by. Without reserved tokens.
  absl::flat_hash_map<std::string, TokenId> ids_;
  size_t longest_ = 0;                       // bytes of the longest key of ids_
  std::array<TokenId, 256> byte_ids_{};      // kBytes: byte -> its character's token
  std::array<TokenId, 256> fallback_ids_{};  // byte -> <0xHH>
  bool has_fallback_ = false;
  bool ignore_merges_ = false;
  bool fuse_unknown_ = false;
  TokenId unknown_ = kNone;
};

}  // namespace headgate
