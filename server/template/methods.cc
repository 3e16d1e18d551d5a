#include "server/template/methods.h"

#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"
#include "server/template/compare.h"

namespace headgate::jinja {
namespace {

absl::StatusOr<Value> DictGet(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("get", {"key", "default"}, 1, args));
  ASSIGN_OR_RETURN(const bool present, Contains(budget, self, *bound[0]));
  if (present) return *self.dict().Find(*bound[0]);
  return bound[1].value_or(Value(None{}));
}

absl::StatusOr<Value> DictItems(Budget& budget, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("items", {}, 0, args).status());
  std::vector<Value> items;
  for (const auto& [key, value] : self.dict().entries) {
    ASSIGN_OR_RETURN(Value pair,
                     MakeSequence(budget, SequenceKind::kTuple, {key, value}, self.trusted()));
    items.push_back(std::move(pair));
  }
  return MakeSequence(budget, SequenceKind::kItems, std::move(items), self.trusted());
}

absl::StatusOr<Value> DictKeys(Budget& budget, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("keys", {}, 0, args).status());
  ASSIGN_OR_RETURN(std::vector<Value> keys, Iterate(budget, self));
  return MakeSequence(budget, SequenceKind::kKeys, std::move(keys), self.trusted());
}

absl::StatusOr<Value> DictValues(Budget& budget, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("values", {}, 0, args).status());
  std::vector<Value> values;
  for (const auto& entry : self.dict().entries) values.push_back(entry.second);
  return MakeSequence(budget, SequenceKind::kValues, std::move(values), self.trusted());
}

// Values never change, so a copy is the value itself.
absl::StatusOr<Value> Copy(Budget&, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("copy", {}, 0, args).status());
  return self;
}

absl::StatusOr<Value> ListCount(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("count", {"value"}, 1, args));
  int64_t count = 0;
  for (const Value& item : self.sequence().items) {
    ASSIGN_OR_RETURN(const bool equal, Equals(budget, item, *bound[0]));
    count += equal ? 1 : 0;
  }
  return Value::Int(count, self.trusted());
}

absl::StatusOr<Value> ListIndex(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("index", {"value"}, 1, args));
  const auto& items = self.sequence().items;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(const bool equal, Equals(budget, items[i], *bound[0]));
    if (equal) return Value::Int(static_cast<int64_t>(i), self.trusted());
  }
  return absl::InvalidArgumentError("index(): the value is not in the list");
}

absl::StatusOr<Value> LoopCycle(Budget&, const Value& self, const CallArgs& args) {
  if (args.positional.empty() || !args.named.empty()) {
    return absl::InvalidArgumentError("loop.cycle() takes the values to cycle through");
  }
  return args.positional[self.loop()->index0 % args.positional.size()];
}

absl::StatusOr<Value> LoopChanged(Budget& budget, const Value& self, const CallArgs& args) {
  LoopState& loop = *self.loop();
  bool same = loop.has_changed_key && loop.changed_key.size() == args.positional.size();
  for (size_t i = 0; same && i < args.positional.size(); ++i) {
    ASSIGN_OR_RETURN(same, Equals(budget, loop.changed_key[i], args.positional[i]));
  }
  loop.has_changed_key = true;
  loop.changed_key = args.positional;
  return Value::Bool(!same);
}

Method FindDictMethod(std::string_view name) {
  if (name == "get") return DictGet;
  if (name == "items") return DictItems;
  if (name == "keys") return DictKeys;
  if (name == "values") return DictValues;
  if (name == "copy") return Copy;
  return nullptr;
}

Method FindSequenceMethod(const Sequence& sequence, std::string_view name) {
  if (!sequence.indexable()) return nullptr;
  if (name == "count") return ListCount;
  if (name == "index") return ListIndex;
  if (name == "copy" && sequence.kind == SequenceKind::kList) return Copy;
  return nullptr;
}

Method FindMethod(const Value& self, std::string_view name) {
  if (self.IsString()) return FindStringMethod(name);
  if (self.IsDict()) return FindDictMethod(name);
  if (self.IsSequence()) return FindSequenceMethod(self.sequence(), name);
  if (self.IsLoop() && name == "cycle") return LoopCycle;
  if (self.IsLoop() && name == "changed") return LoopChanged;
  return nullptr;
}

}  // namespace

bool HasMethod(const Value& self, std::string_view name) {
  return FindMethod(self, name) != nullptr;
}

absl::StatusOr<Value> CallMethod(Budget& budget, const Value& self, std::string_view name,
                                 const CallArgs& args) {
  const Method method = FindMethod(self, name);
  CHECK(method != nullptr) << "CallMethod: no method of that name";
  return method(budget, self, args);
}

}  // namespace headgate::jinja
