#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/template/filters.h"
#include "server/template/value_tests.h"

namespace headgate::jinja {
namespace {

// What decides whether an element is kept: a test with its arguments, or truth.
struct Condition {
  Value path = Value(None{});
  TestFunction test = nullptr;
  CallArgs args;
};

absl::StatusOr<Condition> ReadCondition(const CallArgs& args, bool by_attribute) {
  Condition condition;
  size_t next = 0;
  if (by_attribute) {
    if (args.positional.empty()) {
      return absl::InvalidArgumentError("selectattr and rejectattr need the name of an attribute");
    }
    condition.path = args.positional[next++];
  }
  if (next == args.positional.size()) return condition;
  const Value& name = args.positional[next++];
  if (name.IsString()) condition.test = FindTest(name.view());
  if (condition.test == nullptr) return absl::InvalidArgumentError("no test of that name");
  condition.args.positional.assign(args.positional.begin() + static_cast<ptrdiff_t>(next),
                                   args.positional.end());
  condition.args.named = args.named;
  return condition;
}

template <bool kByAttribute, bool kKeep>
absl::StatusOr<Value> Select(Budget& budget, const Value& input, const CallArgs& args) {
  if (input.IsUndefined()) return MakeSequence(budget, SequenceKind::kIterator, {});
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  std::vector<Value> kept;
  ASSIGN_OR_RETURN(const Condition condition, ReadCondition(args, kByAttribute));
  for (const Value& item : items) {
    RETURN_IF_ERROR(budget.Step());
    ASSIGN_OR_RETURN(const Value subject, GetPath(budget, item, condition.path));
    bool holds = Truthy(subject);
    if (condition.test != nullptr) {
      ASSIGN_OR_RETURN(holds, condition.test(budget, subject, condition.args));
    }
    if (holds == kKeep) kept.push_back(item);
  }
  return MakeSequence(budget, SequenceKind::kIterator, std::move(kept), input.trusted());
}

absl::StatusOr<Value> MapAttribute(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("map", {"attribute", "default"}, 1, args));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  std::vector<Value> mapped;
  for (const Value& item : items) {
    RETURN_IF_ERROR(budget.Step());
    ASSIGN_OR_RETURN(Value value, GetPath(budget, item, *bound[0]));
    if (value.IsUndefined() && bound[1].has_value() && !bound[1]->IsNone()) value = *bound[1];
    mapped.push_back(std::move(value));
  }
  return MakeSequence(budget, SequenceKind::kIterator, std::move(mapped), input.trusted());
}

absl::StatusOr<Value> Map(Budget& budget, const Value& input, const CallArgs& args) {
  if (input.IsUndefined()) return MakeSequence(budget, SequenceKind::kIterator, {});
  if (args.positional.empty()) return MapAttribute(budget, input, args);
  const Value& name = args.positional.front();
  const FilterFunction filter = name.IsString() ? FindFilter(name.view()) : nullptr;
  if (filter == nullptr) return absl::InvalidArgumentError("map: no filter of that name");
  // map('map', 'map', ...) would recurse; no template needs it.
  if (filter == Map) return absl::InvalidArgumentError("map cannot apply map");
  CallArgs rest;
  rest.positional.assign(args.positional.begin() + 1, args.positional.end());
  rest.named = args.named;
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  std::vector<Value> mapped;
  for (const Value& item : items) {
    RETURN_IF_ERROR(budget.Step());
    ASSIGN_OR_RETURN(Value value, filter(budget, item, rest));
    mapped.push_back(std::move(value));
  }
  return MakeSequence(budget, SequenceKind::kIterator, std::move(mapped), input.trusted());
}

absl::StatusOr<Value> Default(Budget&, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("default", {"default_value", "boolean"}, 0, args));
  if (input.IsUndefined() || (BoolArg(bound[1], false) && !Truthy(input))) {
    return bound[0].value_or(Value::String(Text()));
  }
  return input;
}

constexpr FilterEntry kSelectionFilters[] = {
    {"select", Select<false, true>},
    {"reject", Select<false, false>},
    {"selectattr", Select<true, true>},
    {"rejectattr", Select<true, false>},
    {"map", Map},
    {"default", Default},
    {"d", Default},
};

}  // namespace

std::span<const FilterEntry> SelectionFilters() { return kSelectionFilters; }

}  // namespace headgate::jinja
