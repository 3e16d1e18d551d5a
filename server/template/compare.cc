#include "server/template/compare.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace headgate::jinja {
namespace {

absl::Status NoOrder(const Value& left, const Value& right) {
  if (left.IsUndefined()) return UndefinedError(left);
  if (right.IsUndefined()) return UndefinedError(right);
  return absl::InvalidArgumentError(absl::StrCat("'<' not supported between instances of '",
                                                 left.TypeName(), "' and '", right.TypeName(),
                                                 "'"));
}

bool ComparesByElement(const Sequence& left, const Sequence& right) {
  return left.kind == right.kind && left.indexable();
}

absl::StatusOr<bool> DictEquals(Budget& budget, const Dict& left, const Dict& right) {
  if (left.entries.size() != right.entries.size()) return false;
  for (const auto& [key, value] : left.entries) {
    RETURN_IF_ERROR(budget.Step(key.IsString() ? 1 : 1 + right.entries.size()));
    const Value* other = right.Find(key);
    if (other == nullptr) return false;
    ASSIGN_OR_RETURN(const bool equal, Equals(budget, value, *other));
    if (!equal) return false;
  }
  return true;
}

}  // namespace

bool ScalarEquals(const Value& left, const Value& right) {
  if (left.IsUndefined() && right.IsUndefined()) return true;
  if (left.IsIntegral() && right.IsIntegral()) return left.integer() == right.integer();
  if (left.IsNumber() && right.IsNumber()) return left.number() == right.number();
  if (left.IsString() && right.IsString()) return left.view() == right.view();
  return left.SameObject(right);
}

absl::StatusOr<bool> Equals(Budget& budget, const Value& left, const Value& right) {
  RETURN_IF_ERROR(budget.Step());
  if (left.IsString() && right.IsString()) RETURN_IF_ERROR(budget.Scan(left.text().size()));
  if (ScalarEquals(left, right)) return true;
  if (left.IsDict() && right.IsDict()) return DictEquals(budget, left.dict(), right.dict());
  if (!left.IsSequence() || !right.IsSequence()) return false;
  const Sequence& a = left.sequence();
  const Sequence& b = right.sequence();
  if (!ComparesByElement(a, b) || a.items.size() != b.items.size()) return false;
  for (size_t i = 0; i < a.items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool equal, Equals(budget, a.items[i], b.items[i]));
    if (!equal) return false;
  }
  return true;
}

absl::StatusOr<bool> Less(Budget& budget, const Value& left, const Value& right) {
  RETURN_IF_ERROR(budget.Step());
  if (left.IsIntegral() && right.IsIntegral()) return left.integer() < right.integer();
  if (left.IsNumber() && right.IsNumber()) return left.number() < right.number();
  if (left.IsString() && right.IsString()) {
    RETURN_IF_ERROR(budget.Scan(left.text().size()));
    return left.view() < right.view();
  }
  if (!left.IsSequence() || !right.IsSequence()) return NoOrder(left, right);
  const Sequence& a = left.sequence();
  const Sequence& b = right.sequence();
  if (!ComparesByElement(a, b) || a.kind == SequenceKind::kRange) return NoOrder(left, right);
  for (size_t i = 0; i < std::min(a.items.size(), b.items.size()); ++i) {
    ASSIGN_OR_RETURN(const bool equal, Equals(budget, a.items[i], b.items[i]));
    if (!equal) return Less(budget, a.items[i], b.items[i]);
  }
  return a.items.size() < b.items.size();
}

absl::StatusOr<bool> LessOrEqual(Budget& budget, const Value& left, const Value& right) {
  if (left.IsNumber() && right.IsNumber() && (left.IsFloat() || right.IsFloat())) {
    return left.number() <= right.number();
  }
  ASSIGN_OR_RETURN(const bool greater, Less(budget, right, left));
  return !greater;
}

absl::StatusOr<bool> Contains(Budget& budget, const Value& container, const Value& item) {
  if (container.IsUndefined()) return false;
  if (container.IsString()) {
    if (!item.IsString()) {
      return absl::InvalidArgumentError(absl::StrCat(
          "'in <string>' requires a string as left operand, not '", item.TypeName(), "'"));
    }
    RETURN_IF_ERROR(budget.Scan(container.text().size()));
    return FindText(container.view(), item.view()) != std::string_view::npos;
  }
  if (container.IsDict()) {
    if (item.IsDict() || (item.IsSequence() && item.sequence().kind == SequenceKind::kList)) {
      return absl::InvalidArgumentError(absl::StrCat("unhashable type: '", item.TypeName(), "'"));
    }
    if (!item.IsString()) RETURN_IF_ERROR(budget.Step(container.dict().entries.size()));
    return container.dict().Find(item) != nullptr;
  }
  if (!container.IsSequence()) {
    return absl::InvalidArgumentError(
        absl::StrCat("argument of type '", container.TypeName(), "' is not iterable"));
  }
  const Sequence& sequence = container.sequence();
  for (size_t i = sequence.consumed; i < sequence.items.size(); ++i) {
    if (sequence.kind == SequenceKind::kIterator) sequence.consumed = i + 1;
    ASSIGN_OR_RETURN(const bool equal, Equals(budget, sequence.items[i], item));
    if (equal) return true;
  }
  return false;
}

size_t FindText(std::string_view text, std::string_view needle, size_t from) {
  if (from > text.size()) return std::string_view::npos;
  if (needle.empty()) return from;
  // memmem is linear (two-way search), unlike std::string::find.
  const void* found = memmem(text.data() + from, text.size() - from, needle.data(), needle.size());
  if (found == nullptr) return std::string_view::npos;
  return static_cast<size_t>(static_cast<const char*>(found) - text.data());
}

}  // namespace headgate::jinja
