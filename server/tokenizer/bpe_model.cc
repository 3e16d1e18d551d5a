#include "server/tokenizer/bpe_model.h"

#include <algorithm>

#include "base/absl_view.h"
#include "base/check.h"
#include "base/utf8.h"
#include "server/tokenizer/byte_alphabet.h"

namespace headgate {
namespace {

using Candidate = BpeScratch::Candidate;

// Heap order: the front is the lowest rank, then the leftmost position.
bool GoesLater(const Candidate& a, const Candidate& b) {
  return a.rank != b.rank ? a.rank > b.rank : a.position > b.position;
}

void PushSymbol(TokenId id, BpeScratch* scratch) {
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols;
  const auto index = static_cast<int32_t>(symbols.size());
  if (index > 0) symbols.back().next = index;
  symbols.push_back({.id = id, .previous = index - 1});
}

}  // namespace

void BpeModel::PushUnknown(BpeScratch* scratch, bool* after_unknown) const {
  if (unknown_ == kNone || (fuse_unknown_ && *after_unknown)) return;
  PushSymbol(unknown_, scratch);
  *after_unknown = true;
}

void BpeModel::FirstSymbols(std::string_view word, BpeScratch* scratch) const {
  scratch->symbols.clear();
  bool after_unknown = false;
  if (alphabet_ == Alphabet::kBytes) {
    for (const char c : word) {
      const TokenId id = byte_ids_[static_cast<uint8_t>(c)];
      if (id == kNone) {
        PushUnknown(scratch, &after_unknown);
      } else {
        PushSymbol(id, scratch);
        after_unknown = false;
      }
    }
    return;
  }
  for (size_t i = 0, size = 0; i < word.size(); i += size) {
    size = Utf8CharacterSize(word, i);
    const std::string_view character = word.substr(i, size);
    if (const auto found = ids_.find(AbslView(character)); found != ids_.end()) {
      PushSymbol(found->second, scratch);
      after_unknown = false;
    } else if (has_fallback_) {
      for (const char c : character) PushSymbol(fallback_ids_[static_cast<uint8_t>(c)], scratch);
      after_unknown = false;
    } else {
      PushUnknown(scratch, &after_unknown);
    }
  }
}

void BpeModel::PushCandidate(int32_t left, BpeScratch* scratch) const {
  if (left < 0) return;
  const BpeScratch::Symbol& symbol = scratch->symbols[left];
  if (symbol.next < 0) return;
  const auto found = merges_.find(PairKey(symbol.id, scratch->symbols[symbol.next].id));
  if (found == merges_.end()) return;
  scratch->heap.push_back({found->second.rank, left, found->second.made});
  std::push_heap(scratch->heap.begin(), scratch->heap.end(), GoesLater);
}

void BpeModel::MergeAll(BpeScratch* scratch) const {
  std::vector<BpeScratch::Symbol>& symbols = scratch->symbols;
  std::vector<Candidate>& heap = scratch->heap;
  heap.clear();
  for (size_t i = 0; i < symbols.size(); ++i) PushCandidate(static_cast<int32_t>(i), scratch);
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end(), GoesLater);
    const Candidate candidate = heap.back();
    heap.pop_back();
    ++scratch->steps;
    BpeScratch::Symbol& left = symbols[candidate.position];
    if (left.merged_away || left.next < 0) continue;
    BpeScratch::Symbol& right = symbols[left.next];
    // Neighbours may have changed since. What counts is that the same token would be made.
    const auto still = merges_.find(PairKey(left.id, right.id));
    if (still == merges_.end() || still->second.made != candidate.made) continue;
    left.id = candidate.made;
    left.next = right.next;
    right.merged_away = true;
    if (left.next >= 0) symbols[left.next].previous = candidate.position;
    PushCandidate(left.previous, scratch);
    PushCandidate(candidate.position, scratch);
  }
}

void BpeModel::Encode(std::string_view word, BpeScratch* scratch, std::vector<TokenId>* out) const {
  if (word.empty()) return;
  CHECK_LT(word.size(), size_t{1} << 31);
  if (ignore_merges_ && word.size() <= longest_) {
    const auto found =
        alphabet_ == Alphabet::kBytes ? ids_.find(ToByteAlphabet(word)) : ids_.find(AbslView(word));
    if (found != ids_.end()) {
      out->push_back(found->second);
      return;
    }
  }
  FirstSymbols(word, scratch);
  MergeAll(scratch);
  if (scratch->symbols.empty()) return;
  for (int32_t i = 0; i >= 0; i = scratch->symbols[i].next) out->push_back(scratch->symbols[i].id);
}

}  // namespace headgate
