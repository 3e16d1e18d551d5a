#include "server/template/value.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/compare.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

const char* SequenceTypeName(SequenceKind kind) {
  switch (kind) {
    case SequenceKind::kList:
      return "list";
    case SequenceKind::kTuple:
      return "tuple";
    case SequenceKind::kRange:
      return "range";
    case SequenceKind::kIterator:
      return "generator";
    case SequenceKind::kKeys:
      return "dict_keys";
    case SequenceKind::kValues:
      return "dict_values";
    case SequenceKind::kItems:
      return "dict_items";
  }
  return "?";
}

absl::StatusOr<int> ContainerDepth(const Budget& budget, int deepest) {
  if (deepest < budget.limits().value_depth_max) return deepest + 1;
  return absl::ResourceExhaustedError(
      absl::StrCat("lists and dicts are nested deeper than ", budget.limits().value_depth_max));
}

bool IsHashable(const Value& value) {
  if (value.IsDict()) return false;
  if (!value.IsSequence()) return true;
  const Sequence& sequence = value.sequence();
  if (sequence.kind == SequenceKind::kList) return false;
  if (sequence.kind != SequenceKind::kTuple) return true;
  return std::all_of(sequence.items.begin(), sequence.items.end(), IsHashable);
}

absl::StatusOr<std::vector<Value>> Characters(Budget& budget, const Text& text) {
  const size_t count = CountCodePoints(text.view());
  RETURN_IF_ERROR(budget.Allocate(count * (sizeof(Value) + sizeof(Text) + sizeof(Span))));
  std::vector<Value> characters;
  characters.reserve(count);
  for (size_t at = 0; at < text.size();) {
    const size_t next = at + DecodeAt(text.view(), at).length;
    characters.push_back(Value::String(text.Slice(at, next)));
    at = next;
  }
  return characters;
}

}  // namespace

// Not inline: g++ 12 warns about inlined moves of this variant when it builds with sanitizers.
Value::Value(Data data, bool trusted) : data_(std::move(data)), trusted_(trusted) {}

int Value::depth() const {
  if (IsSequence()) return sequence().depth;
  if (IsDict()) return dict().depth;
  if (IsCallable()) return callable().depth;
  return 0;
}

const char* Value::TypeName() const {
  if (IsUndefined()) return "Undefined";
  if (IsNone()) return "NoneType";
  if (IsBool()) return "bool";
  if (IsInt()) return "int";
  if (IsFloat()) return "float";
  if (IsString()) return "str";
  if (IsSequence()) return SequenceTypeName(sequence().kind);
  if (IsDict()) return "dict";
  if (IsNamespace()) return "Namespace";
  if (IsLoop()) return "LoopContext";
  return "function";
}

bool Value::SameObject(const Value& other) const {
  if (data_.index() != other.data_.index()) return false;
  if (IsString()) return view() == other.view();
  if (IsSequence()) return &sequence() == &other.sequence();
  if (IsDict()) return &dict() == &other.dict();
  if (IsCallable()) return &callable() == &other.callable();
  if (IsNamespace()) return name_space() == other.name_space();
  if (IsLoop()) return loop() == other.loop();
  if (IsNumber()) return number() == other.number();
  return IsNone();
}

const Value* Dict::Find(std::string_view key) const {
  const auto found = index.find(key);
  return found == index.end() ? nullptr : &entries[found->second].second;
}

const Value* Dict::Find(const Value& key) const {
  if (key.IsString()) return Find(key.view());
  if (index.size() == entries.size()) return nullptr;  // string keys only
  for (const auto& [candidate, value] : entries) {
    if (ScalarEquals(candidate, key)) return &value;
  }
  return nullptr;
}

Value* Namespace::Find(std::string_view name) {
  for (auto& [field, value] : fields) {
    if (field == name) return &value;
  }
  return nullptr;
}

absl::StatusOr<Value> MakeString(Budget& budget, Text text) {
  if (text.size() > budget.limits().output_bytes_max) {
    RETURN_IF_ERROR(budget.AllocateString(text.size()));
  }
  RETURN_IF_ERROR(budget.Allocate(text.memory_bytes()));
  return Value::String(std::move(text));
}

absl::StatusOr<Value> MakeSequence(Budget& budget, SequenceKind kind, std::vector<Value> items,
                                   bool trusted) {
  RETURN_IF_ERROR(budget.Allocate(sizeof(Sequence) + items.size() * sizeof(Value)));
  int deepest = 0;
  for (const Value& item : items) deepest = std::max(deepest, item.depth());
  ASSIGN_OR_RETURN(const int depth, ContainerDepth(budget, deepest));
  auto sequence = std::make_shared<Sequence>();
  sequence->kind = kind;
  sequence->items = std::move(items);
  sequence->depth = depth;
  return Value(Value::Data(std::shared_ptr<const Sequence>(std::move(sequence))), trusted);
}

absl::StatusOr<Value> MakeDict(Budget& budget, std::vector<std::pair<Value, Value>> entries,
                               bool trusted) {
  constexpr size_t kEntryBytes = 2 * sizeof(Value) + 64;  // with its node in the index
  RETURN_IF_ERROR(budget.Allocate(sizeof(Dict) + entries.size() * kEntryBytes));
  auto dict = std::make_shared<Dict>();
  dict->entries.reserve(entries.size());  // so that the views of `index` stay valid
  int deepest = 0;
  for (auto& [key, value] : entries) {
    if (!IsHashable(key)) {
      return absl::InvalidArgumentError(absl::StrCat("unhashable type: '", key.TypeName(), "'"));
    }
    deepest = std::max({deepest, key.depth(), value.depth()});
    if (!key.IsString()) RETURN_IF_ERROR(budget.Step(dict->entries.size()));
    if (const Value* old = dict->Find(key)) {
      *const_cast<Value*>(old) = std::move(value);  // the dict is still ours
      continue;
    }
    dict->entries.emplace_back(std::move(key), std::move(value));
    const Value& stored = dict->entries.back().first;
    if (stored.IsString()) dict->index.emplace(stored.view(), dict->entries.size() - 1);
  }
  ASSIGN_OR_RETURN(dict->depth, ContainerDepth(budget, deepest));
  return Value(Value::Data(std::shared_ptr<const Dict>(std::move(dict))), trusted);
}

Value MakeMethod(const Value& self, std::string_view name) {
  auto method = std::make_shared<Callable>();
  method->kind = Callable::Kind::kMethod;
  method->name = name;
  method->self = self;
  method->depth = self.depth() + 1;
  return Value(Value::Data(std::shared_ptr<const Callable>(std::move(method))));
}

bool Truthy(const Value& value) {
  if (value.IsUndefined() || value.IsNone()) return false;
  if (value.IsNumber()) return value.number() != 0;
  if (value.IsString()) return !value.text().empty();
  if (value.IsDict()) return !value.dict().entries.empty();
  if (value.IsSequence()) {
    return value.sequence().kind == SequenceKind::kIterator || !value.sequence().items.empty();
  }
  if (value.IsLoop()) return !value.loop()->items.empty();
  return true;
}

absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value) {
  std::vector<Value> items;
  if (value.IsUndefined()) return items;
  if (value.IsString()) return Characters(budget, value.text());
  if (value.IsSequence()) {
    const Sequence& sequence = value.sequence();
    const auto begin = sequence.items.begin() + static_cast<ptrdiff_t>(sequence.consumed);
    RETURN_IF_ERROR(budget.Allocate(sequence.items.size() * sizeof(Value)));
    if (sequence.kind == SequenceKind::kIterator) sequence.consumed = sequence.items.size();
    items.assign(begin, sequence.items.end());
    return items;
  }
  if (value.IsDict()) {
    RETURN_IF_ERROR(budget.Allocate(value.dict().entries.size() * sizeof(Value)));
    for (const auto& entry : value.dict().entries) items.push_back(entry.first);
    return items;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("'", value.TypeName(), "' object is not iterable"));
}

absl::StatusOr<int64_t> Length(Budget& budget, const Value& value) {
  if (value.IsUndefined()) return 0;
  if (value.IsString()) {
    RETURN_IF_ERROR(budget.Scan(value.text().size()));
    return static_cast<int64_t>(CountCodePoints(value.view()));
  }
  if (value.IsSequence() && value.sequence().kind != SequenceKind::kIterator) {
    return static_cast<int64_t>(value.sequence().items.size());
  }
  if (value.IsDict()) return static_cast<int64_t>(value.dict().entries.size());
  if (value.IsLoop()) return static_cast<int64_t>(value.loop()->items.size());
  return absl::InvalidArgumentError(
      absl::StrCat("object of type '", value.TypeName(), "' has no len()"));
}

absl::Status UndefinedError(const Value& value) {
  const auto& what = value.undefined().what;
  return absl::InvalidArgumentError(what == nullptr ? "the value is undefined" : *what);
}

}  // namespace headgate::jinja
