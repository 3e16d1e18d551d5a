// The two-way table between token texts and ids, as tokenizer.json writes them: the model's vocab
// and the added tokens. Filled once, then immutable.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "base/ids.h"

namespace headgate {

class Vocabulary final {
 public:
  // Ids lie in [0, kIdMax]; more is taken for a broken file.
  static constexpr int64_t kIdMax = (int64_t{1} << 24) - 1;

  // INVALID_ARGUMENT when the id is out of range, or when the text already has another id. Two
  // texts of one id are allowed: the first one names the id.
  absl::Status Add(std::string_view text, int64_t id);

  std::optional<TokenId> IdOf(std::string_view text) const;

  // Empty for an id that has no token.
  std::string_view TextOf(TokenId id) const;

  // One more than the highest id.
  int64_t size() const { return static_cast<int64_t>(texts_.size()); }

 private:
  absl::flat_hash_map<std::string, TokenId> ids_;
  std::vector<std::string> texts_;
};

}  // namespace headgate
