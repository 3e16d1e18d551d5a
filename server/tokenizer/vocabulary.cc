#include "server/tokenizer/vocabulary.h"

#include "absl/strings/str_cat.h"
#include "base/absl_view.h"

namespace headgate {

absl::Status Vocabulary::Add(std::string_view text, int64_t id) {
  if (!(0 <= id && id <= kIdMax)) {
    return absl::InvalidArgumentError(absl::StrCat("has id ", id, ", not in [0, ", kIdMax, "]"));
  }
  const auto [entry, is_new] = ids_.try_emplace(std::string(text), static_cast<TokenId>(id));
  if (!is_new && entry->second != id) {
    return absl::InvalidArgumentError(
        absl::StrCat("has id ", id, ", but the same token has id ", entry->second));
  }
  if (id >= size()) texts_.resize(id + 1);
  if (texts_[id].empty()) texts_[id] = std::string(text);
  return absl::OkStatus();
}

std::optional<TokenId> Vocabulary::IdOf(std::string_view text) const {
  const auto found = ids_.find(AbslView(text));
  if (found == ids_.end()) return std::nullopt;
  return found->second;
}

std::string_view Vocabulary::TextOf(TokenId id) const {
  if (id < 0 || id >= size()) return {};
  return texts_[id];
}

}  // namespace headgate
