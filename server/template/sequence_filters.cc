#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_split.h"
#include "base/absl_view.h"
#include "base/status_macros.h"
#include "server/template/compare.h"
#include "server/template/filters.h"
#include "server/template/methods.h"
#include "server/template/operators.h"
#include "server/template/stringify.h"
#include "server/template/text_transform.h"

namespace headgate::jinja {
namespace {

absl::StatusOr<Value> LengthFilter(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("length", {}, 0, args).status());
  ASSIGN_OR_RETURN(const int64_t length, Length(budget, input));
  return Value::Int(length, input.trusted());
}

absl::StatusOr<Value> ListFilter(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("list", {}, 0, args).status());
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget, input));
  return MakeSequence(budget, SequenceKind::kList, std::move(items), input.trusted());
}

absl::StatusOr<Value> First(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("first", {}, 0, args).status());
  if (input.IsSequence()) {
    const Sequence& sequence = input.sequence();
    if (sequence.consumed < sequence.items.size()) {
      const size_t at = sequence.consumed;
      if (sequence.kind == SequenceKind::kIterator) ++sequence.consumed;
      return sequence.items[at];
    }
    return Value::Missing("no first item, the sequence is empty");
  }
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  if (items.empty()) return Value::Missing("no first item, the sequence is empty");
  return items.front();
}

absl::StatusOr<Value> Last(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("last", {}, 0, args).status());
  if (input.IsSequence() && input.sequence().kind == SequenceKind::kIterator) {
    return absl::InvalidArgumentError("last needs a list; put `| list` before it");
  }
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  if (items.empty()) return Value::Missing("no last item, the sequence is empty");
  return items.back();
}

absl::StatusOr<Value> JoinFilter(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("join", {"d", "attribute"}, 0, args));
  ASSIGN_OR_RETURN(const Value separator,
                   ToString(budget, bound[0].value_or(Value::String(Text()))));
  const Value path = bound[1].value_or(Value(None{}));
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget, input));
  for (Value& item : items) {
    ASSIGN_OR_RETURN(item, GetPath(budget, item, path));
    ASSIGN_OR_RETURN(item, ToString(budget, item));
  }
  return Join(budget, separator.text(), items);
}

absl::StatusOr<Value> Items(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("items", {}, 0, args).status());
  if (input.IsUndefined()) return MakeSequence(budget, SequenceKind::kIterator, {});
  if (!input.IsDict()) return absl::InvalidArgumentError("items needs a mapping");
  ASSIGN_OR_RETURN(const Value view, CallMethod(budget, input, "items", CallArgs{}));
  return MakeSequence(budget, SequenceKind::kIterator, view.sequence().items, input.trusted());
}

absl::StatusOr<Value> Reverse(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("reverse", {}, 0, args).status());
  if (input.IsString()) {
    return GetSlice(budget, input, Value(None{}), Value(None{}), Value::Int(-1, true));
  }
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget, input));
  std::reverse(items.begin(), items.end());
  return MakeSequence(budget, SequenceKind::kIterator, std::move(items), input.trusted());
}

// An item with what it is sorted by.
struct Keyed {
  std::vector<Value> keys;
  Value item;
};

absl::StatusOr<bool> KeysLess(Budget& budget, const Keyed& left, const Keyed& right) {
  for (size_t i = 0; i < left.keys.size(); ++i) {
    ASSIGN_OR_RETURN(const bool equal, Equals(budget, left.keys[i], right.keys[i]));
    if (!equal) return Less(budget, left.keys[i], right.keys[i]);
  }
  return false;
}

// Stable; the first failed comparison is the result, the order is then unspecified.
absl::StatusOr<Value> SortKeyed(Budget& budget, std::vector<Keyed> rows, bool reverse,
                                bool trusted) {
  absl::Status status;
  std::stable_sort(rows.begin(), rows.end(), [&](const Keyed& a, const Keyed& b) {
    if (!status.ok()) return false;
    const absl::StatusOr<bool> less = reverse ? KeysLess(budget, b, a) : KeysLess(budget, a, b);
    status.Update(less.status());
    return less.ok() && *less;
  });
  RETURN_IF_ERROR(status);
  std::vector<Value> items;
  items.reserve(rows.size());
  for (Keyed& row : rows) items.push_back(std::move(row.item));
  return MakeSequence(budget, SequenceKind::kList, std::move(items), trusted);
}

absl::StatusOr<Value> Sort(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound,
                   Bind("sort", {"reverse", "case_sensitive", "attribute"}, 0, args));
  const bool case_sensitive = BoolArg(bound[1], false);
  std::vector<Value> paths = {bound[2].value_or(Value(None{}))};
  if (paths[0].IsString()) {
    const Value all = paths[0];
    paths.clear();
    for (absl::string_view part : absl::StrSplit(AbslView(all.view()), ',')) {
      paths.push_back(Value::String(Text(std::string(part), true)));
    }
  }
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget, input));
  RETURN_IF_ERROR(budget.Allocate(items.size() * (sizeof(Keyed) + paths.size() * sizeof(Value))));
  std::vector<Keyed> rows;
  for (Value& item : items) {
    Keyed row;
    for (const Value& path : paths) {
      ASSIGN_OR_RETURN(Value key, GetPath(budget, item, path));
      if (key.IsString()) RETURN_IF_ERROR(budget.Allocate(key.text().size()));
      row.keys.push_back(case_sensitive ? std::move(key) : IgnoreCase(key));
    }
    row.item = std::move(item);
    rows.push_back(std::move(row));
  }
  return SortKeyed(budget, std::move(rows), BoolArg(bound[0], false), input.trusted());
}

absl::StatusOr<Value> DictSort(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("dictsort", {"case_sensitive", "by", "reverse"}, 0, args));
  if (!input.IsDict()) return absl::InvalidArgumentError("dictsort needs a mapping");
  ASSIGN_OR_RETURN(const Text by, TextArg(bound[1], "key"));
  if (by.view() != "key" && by.view() != "value") {
    return absl::InvalidArgumentError("dictsort: by must be 'key' or 'value'");
  }
  const bool case_sensitive = BoolArg(bound[0], false);
  std::vector<Keyed> rows;
  for (const auto& [key, value] : input.dict().entries) {
    const Value& by_value = by.view() == "key" ? key : value;
    if (by_value.IsString()) RETURN_IF_ERROR(budget.Allocate(by_value.text().size()));
    ASSIGN_OR_RETURN(Value pair,
                     MakeSequence(budget, SequenceKind::kTuple, {key, value}, input.trusted()));
    rows.push_back({{case_sensitive ? by_value : IgnoreCase(by_value)}, std::move(pair)});
  }
  return SortKeyed(budget, std::move(rows), BoolArg(bound[2], false), input.trusted());
}

absl::StatusOr<Value> Unique(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("unique", {"case_sensitive", "attribute"}, 0, args));
  const bool case_sensitive = BoolArg(bound[0], false);
  const Value path = bound[1].value_or(Value(None{}));
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget, input));
  std::vector<Value> seen;
  std::vector<Value> kept;
  for (Value& item : items) {
    ASSIGN_OR_RETURN(Value key, GetPath(budget, item, path));
    if (key.IsString()) RETURN_IF_ERROR(budget.Allocate(key.text().size()));
    if (!case_sensitive) key = IgnoreCase(key);
    bool found = false;
    for (size_t i = 0; i < seen.size() && !found; ++i) {
      ASSIGN_OR_RETURN(found, Equals(budget, seen[i], key));
    }
    if (found) continue;
    seen.push_back(std::move(key));
    kept.push_back(std::move(item));
  }
  return MakeSequence(budget, SequenceKind::kIterator, std::move(kept), input.trusted());
}

absl::StatusOr<Value> Batch(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("batch", {"linecount", "fill_with"}, 1, args));
  ASSIGN_OR_RETURN(const int64_t count, IntArg(bound[0], 0));
  if (!(1 <= count && count <= 100'000)) {
    return absl::InvalidArgumentError("batch: linecount must be between 1 and 100000");
  }
  const auto size = static_cast<size_t>(count);
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget, input));
  std::vector<Value> rows;
  for (size_t at = 0; at < items.size(); at += size) {
    const auto begin = items.begin() + static_cast<ptrdiff_t>(at);
    const auto end = items.begin() + static_cast<ptrdiff_t>(std::min(items.size(), at + size));
    std::vector<Value> row(begin, end);
    if (bound[1].has_value() && !bound[1]->IsNone()) {
      RETURN_IF_ERROR(budget.Allocate(size * sizeof(Value)));
      row.resize(size, *bound[1]);
    }
    ASSIGN_OR_RETURN(Value list, MakeSequence(budget, SequenceKind::kList, std::move(row)));
    rows.push_back(std::move(list));
  }
  return MakeSequence(budget, SequenceKind::kIterator, std::move(rows), input.trusted());
}

constexpr FilterEntry kSequenceFilters[] = {
    {"length", LengthFilter}, {"count", LengthFilter}, {"list", ListFilter}, {"first", First},
    {"last", Last},           {"join", JoinFilter},    {"items", Items},     {"reverse", Reverse},
    {"sort", Sort},           {"dictsort", DictSort},  {"unique", Unique},   {"batch", Batch},
};

}  // namespace

std::span<const FilterEntry> SequenceFilters() { return kSequenceFilters; }

}  // namespace headgate::jinja
