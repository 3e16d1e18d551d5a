// A byte trie that finds which of a fixed set of texts begin at a place. Filled once, then
// immutable.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"

namespace headgate {

class TokenTrie final {
 public:
  TokenTrie() { starts_.fill(false); }

  // REQUIRES: text not empty. The last value added for a text wins.
  void Add(std::string_view text, int32_t value);

  bool empty() const { return next_.empty(); }

  // Calls `match(size, value)` for every text that `text` begins with, shortest first.
  void Match(std::string_view text,
             absl::FunctionRef<void(size_t size, int32_t value)> match) const;

 private:
  static constexpr int32_t kNone = -1;

  std::array<bool, 256> starts_;                 // does any text begin with the byte?
  absl::flat_hash_map<uint64_t, int32_t> next_;  // node << 8 | byte -> node
  std::vector<int32_t> values_{kNone};           // by node; node 0 is the root
};

}  // namespace headgate
