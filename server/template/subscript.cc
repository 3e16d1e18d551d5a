#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/methods.h"
#include "server/template/operators.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

std::optional<Value> LoopField(const LoopState& loop, std::string_view name) {
  const auto size = static_cast<int64_t>(loop.items.size());
  const auto index0 = static_cast<int64_t>(loop.index0);
  if (name == "index") return Value::Int(index0 + 1, true);
  if (name == "index0") return Value::Int(index0, true);
  if (name == "revindex") return Value::Int(size - index0, true);
  if (name == "revindex0") return Value::Int(size - index0 - 1, true);
  if (name == "first") return Value::Bool(index0 == 0);
  if (name == "last") return Value::Bool(index0 + 1 == size);
  if (name == "length") return Value::Int(size, true);
  // Only recursive loops, which are not supported, are deeper.
  if (name == "depth") return Value::Int(1, true);
  if (name == "depth0") return Value::Int(0, true);
  if (name == "previtem") {
    return index0 > 0 ? loop.items[loop.index0 - 1] : Value::Missing("there is no previous item");
  }
  if (name == "nextitem") {
    return index0 + 1 < size ? loop.items[loop.index0 + 1]
                             : Value::Missing("there is no next item");
  }
  return std::nullopt;
}

// A method or a field that Python would find with getattr().
std::optional<Value> FindAttribute(const Value& object, std::string_view name) {
  if (object.IsNamespace()) {
    const Value* field = object.name_space()->Find(name);
    if (field != nullptr) return *field;
    return std::nullopt;
  }
  if (object.IsLoop()) {
    if (std::optional<Value> field = LoopField(*object.loop(), name)) return field;
  }
  if (HasMethod(object, name)) return MakeMethod(object, name);
  return std::nullopt;
}

Value MissingItem(const Value& object, const Value& key) {
  const std::string type = object.TypeName();
  if (key.IsString() && key.trusted() && key.text().size() <= 64) {
    return Value::Missing(
        absl::StrCat("'", type, " object' has no attribute '", std::string(key.view()), "'"));
  }
  return Value::Missing(absl::StrCat("'", type, " object' has no such element"));
}

absl::StatusOr<std::optional<Value>> FindItem(Budget& budget, const Value& object,
                                              const Value& key) {
  if (object.IsDict()) {
    if (!key.IsString()) RETURN_IF_ERROR(budget.Step(object.dict().entries.size()));
    const Value* found = object.dict().Find(key);
    return found == nullptr ? std::nullopt : std::make_optional(*found);
  }
  if (!key.IsIntegral()) return std::nullopt;
  int64_t index = key.integer();
  if (object.IsSequence() && object.sequence().indexable()) {
    const auto& items = object.sequence().items;
    const auto size = static_cast<int64_t>(items.size());
    if (index < 0) index += size;
    if (!(0 <= index && index < size)) return std::nullopt;
    return items[static_cast<size_t>(index)];
  }
  if (object.IsString()) {
    RETURN_IF_ERROR(budget.Scan(object.text().size()));
    const auto size = static_cast<int64_t>(CountCodePoints(object.view()));
    if (index < 0) index += size;
    if (!(0 <= index && index < size)) return std::nullopt;
    const size_t at = ByteOffset(object.view(), static_cast<size_t>(index));
    const size_t end = at + DecodeAt(object.view(), at).length;
    ASSIGN_OR_RETURN(Value character, MakeString(budget, object.text().Slice(at, end)));
    return character;
  }
  return std::nullopt;
}

struct SliceRange {
  int64_t start = 0;
  int64_t stop = 0;
  int64_t step = 1;
};

absl::StatusOr<int64_t> Bound(const Value& value, int64_t size, int64_t step, int64_t absent) {
  if (value.IsNone()) return absent;
  if (!value.IsIntegral()) {
    return absl::InvalidArgumentError("slice indices must be integers or None");
  }
  const int64_t low = step < 0 ? -1 : 0;
  const int64_t high = step < 0 ? size - 1 : size;
  int64_t index = value.integer();
  if (index < 0) index += size;
  return std::clamp(index, low, std::max(low, high));
}

// slice.indices(size) of Python.
absl::StatusOr<SliceRange> ResolveSlice(int64_t size, const Value& start, const Value& stop,
                                        const Value& step) {
  SliceRange range;
  if (!step.IsNone()) {
    if (!step.IsIntegral()) {
      return absl::InvalidArgumentError("slice indices must be integers or None");
    }
    // Steps beyond the size behave alike; clamped so that the additions cannot overflow.
    range.step = std::clamp<int64_t>(step.integer(), -size - 1, size + 1);
  }
  if (range.step == 0) return absl::InvalidArgumentError("slice step cannot be zero");
  const bool forward = range.step > 0;
  ASSIGN_OR_RETURN(range.start, Bound(start, size, range.step, forward ? 0 : size - 1));
  ASSIGN_OR_RETURN(range.stop, Bound(stop, size, range.step, forward ? size : -1));
  return range;
}

absl::StatusOr<Value> SliceText(Budget& budget, const Text& text, const Value& start,
                                const Value& stop, const Value& step) {
  RETURN_IF_ERROR(budget.Scan(text.size()));
  const auto size = static_cast<int64_t>(CountCodePoints(text.view()));
  ASSIGN_OR_RETURN(const SliceRange range, ResolveSlice(size, start, stop, step));
  if (range.step == 1) {
    if (range.start >= range.stop) return MakeString(budget, Text());
    const size_t begin = ByteOffset(text.view(), static_cast<size_t>(range.start));
    const size_t length =
        ByteOffset(text.view().substr(begin), static_cast<size_t>(range.stop - range.start));
    return MakeString(budget, text.Slice(begin, begin + length));
  }
  RETURN_IF_ERROR(budget.Allocate(text.size() * sizeof(size_t)));
  std::vector<size_t> offsets;
  for (size_t at = 0; at < text.size(); at += DecodeAt(text.view(), at).length)
    offsets.push_back(at);
  offsets.push_back(text.size());
  Text picked;
  for (int64_t i = range.start; range.step > 0 ? i < range.stop : i > range.stop; i += range.step) {
    picked.AppendRange(text, offsets[static_cast<size_t>(i)], offsets[static_cast<size_t>(i) + 1]);
  }
  return MakeString(budget, std::move(picked));
}

}  // namespace

absl::StatusOr<Value> GetAttribute(Budget& budget, const Value& object, std::string_view name) {
  if (object.IsUndefined()) return UndefinedError(object);
  if (std::optional<Value> found = FindAttribute(object, name)) return *std::move(found);
  const Value key = Value::String(Text(std::string(name), true));
  ASSIGN_OR_RETURN(std::optional<Value> item, FindItem(budget, object, key));
  if (item.has_value()) return *std::move(item);
  return MissingItem(object, key);
}

absl::StatusOr<Value> GetItem(Budget& budget, const Value& object, const Value& key) {
  if (object.IsUndefined()) return UndefinedError(object);
  ASSIGN_OR_RETURN(std::optional<Value> item, FindItem(budget, object, key));
  if (item.has_value()) return *std::move(item);
  if (key.IsString()) {
    if (std::optional<Value> found = FindAttribute(object, key.view())) return *std::move(found);
  }
  return MissingItem(object, key);
}

absl::StatusOr<Value> GetSlice(Budget& budget, const Value& object, const Value& start,
                               const Value& stop, const Value& step) {
  if (object.IsUndefined()) return UndefinedError(object);
  if (object.IsString()) return SliceText(budget, object.text(), start, stop, step);
  if (!object.IsSequence() || !object.sequence().indexable()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", object.TypeName(), "' object is not subscriptable"));
  }
  const Sequence& sequence = object.sequence();
  ASSIGN_OR_RETURN(const SliceRange range,
                   ResolveSlice(static_cast<int64_t>(sequence.items.size()), start, stop, step));
  std::vector<Value> items;
  for (int64_t i = range.start; range.step > 0 ? i < range.stop : i > range.stop; i += range.step) {
    items.push_back(sequence.items[static_cast<size_t>(i)]);
  }
  return MakeSequence(budget, sequence.kind, std::move(items), object.trusted());
}

}  // namespace headgate::jinja
