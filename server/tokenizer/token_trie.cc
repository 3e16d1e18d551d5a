#include "server/tokenizer/token_trie.h"

#include "base/check.h"

namespace headgate {
namespace {

uint64_t EdgeKey(int32_t node, char byte) {
  return static_cast<uint64_t>(node) << 8 | static_cast<uint8_t>(byte);
}

}  // namespace

void TokenTrie::Add(std::string_view text, int32_t value) {
  CHECK(!text.empty());
  starts_[static_cast<uint8_t>(text[0])] = true;
  int32_t node = 0;
  for (const char c : text) {
    const auto fresh = static_cast<int32_t>(values_.size());
    const auto [edge, is_new] = next_.try_emplace(EdgeKey(node, c), fresh);
    if (is_new) values_.push_back(kNone);
    node = edge->second;
  }
  values_[node] = value;
}

void TokenTrie::Match(std::string_view text, absl::FunctionRef<void(size_t, int32_t)> match) const {
  if (text.empty() || !starts_[static_cast<uint8_t>(text[0])]) return;
  int32_t node = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto edge = next_.find(EdgeKey(node, text[i]));
    if (edge == next_.end()) return;
    node = edge->second;
    if (values_[node] != kNone) match(i + 1, values_[node]);
  }
}

}  // namespace headgate
