#include "server/template/value_tests.h"

#include <algorithm>
#include <iterator>

#include "base/status_macros.h"
#include "server/template/compare.h"
#include "server/template/filters.h"
#include "server/template/methods.h"
#include "server/template/operators.h"
#include "server/template/stringify.h"

namespace headgate::jinja {
namespace {

using Result = absl::StatusOr<bool>;

// A test that looks at the value alone.
template <bool (*kPredicate)(const Value&)>
Result Simple(Budget&, const Value& value, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("this test", {}, 0, args).status());
  return kPredicate(value);
}

bool IsDefined(const Value& value) { return !value.IsUndefined(); }
bool IsUndefined(const Value& value) { return value.IsUndefined(); }
bool IsNone(const Value& value) { return value.IsNone(); }
bool IsBoolean(const Value& value) { return value.IsBool(); }
bool IsTrue(const Value& value) { return value.IsBool() && value.boolean(); }
bool IsFalse(const Value& value) { return value.IsBool() && !value.boolean(); }
bool IsInteger(const Value& value) { return value.IsInt(); }
bool IsFloat(const Value& value) { return value.IsFloat(); }
bool IsNumber(const Value& value) { return value.IsNumber(); }
bool IsString(const Value& value) { return value.IsString(); }
bool IsMapping(const Value& value) { return value.IsDict(); }
bool IsNever(const Value&) { return false; }

// Has a length and can be indexed. Undefined counts, as it does in Jinja2.
bool IsSequence(const Value& value) {
  return value.IsUndefined() || value.IsString() || value.IsDict() ||
         (value.IsSequence() && value.sequence().indexable());
}

bool IsIterable(const Value& value) {
  return value.IsUndefined() || value.IsString() || value.IsDict() || value.IsSequence() ||
         value.IsLoop();
}

bool IsCallable(const Value& value) { return value.IsCallable() || value.IsUndefined(); }

absl::StatusOr<Value> OtherOf(const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("this test", {"other"}, 1, args));
  return *bound[0];
}

Result IsEqual(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value other, OtherOf(args));
  return Equals(budget, value, other);
}

Result IsNotEqual(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const bool equal, IsEqual(budget, value, args));
  return !equal;
}

Result IsLess(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value other, OtherOf(args));
  return Less(budget, value, other);
}

Result IsGreater(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value other, OtherOf(args));
  return Less(budget, other, value);
}

Result IsLessOrEqual(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value other, OtherOf(args));
  return LessOrEqual(budget, value, other);
}

Result IsGreaterOrEqual(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value other, OtherOf(args));
  return LessOrEqual(budget, other, value);
}

Result IsIn(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value container, OtherOf(args));
  return Contains(budget, container, value);
}

Result IsSameAs(Budget&, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value other, OtherOf(args));
  return value.SameObject(other);
}

Result IsRemainder(Budget& budget, const Value& value, int64_t divisor, int64_t rest) {
  ASSIGN_OR_RETURN(const Value modulo,
                   Arithmetic(budget, BinaryOp::kModulo, value, Value::Int(divisor, true)));
  return Equals(budget, modulo, Value::Int(rest, true));
}

Result IsOdd(Budget& budget, const Value& value, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("odd", {}, 0, args).status());
  return IsRemainder(budget, value, 2, 1);
}

Result IsEven(Budget& budget, const Value& value, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("even", {}, 0, args).status());
  return IsRemainder(budget, value, 2, 0);
}

Result IsDivisibleBy(Budget& budget, const Value& value, const CallArgs& args) {
  ASSIGN_OR_RETURN(const Value divisor, OtherOf(args));
  ASSIGN_OR_RETURN(const int64_t number, IntArg(divisor, 0));
  return IsRemainder(budget, value, number, 0);
}

Result HasCase(Budget& budget, const Value& value, std::string_view method) {
  ASSIGN_OR_RETURN(const Value text, ToString(budget, value));
  ASSIGN_OR_RETURN(const Value answer, CallMethod(budget, text, method, CallArgs{}));
  return answer.boolean();
}

Result IsUpper(Budget& budget, const Value& value, const CallArgs&) {
  return HasCase(budget, value, "isupper");
}

Result IsLower(Budget& budget, const Value& value, const CallArgs&) {
  return HasCase(budget, value, "islower");
}

Result IsFilter(Budget&, const Value& value, const CallArgs&) {
  return value.IsString() && FindFilter(value.view()) != nullptr;
}

Result IsTest(Budget&, const Value& value, const CallArgs&) {
  return value.IsString() && FindTest(value.view()) != nullptr;
}

struct TestEntry {
  std::string_view name;
  TestFunction function;
};

constexpr TestEntry kTests[] = {
    {"defined", Simple<IsDefined>},
    {"undefined", Simple<IsUndefined>},
    {"none", Simple<IsNone>},
    {"boolean", Simple<IsBoolean>},
    {"true", Simple<IsTrue>},
    {"false", Simple<IsFalse>},
    {"integer", Simple<IsInteger>},
    {"float", Simple<IsFloat>},
    {"number", Simple<IsNumber>},
    {"string", Simple<IsString>},
    {"mapping", Simple<IsMapping>},
    {"sequence", Simple<IsSequence>},
    {"iterable", Simple<IsIterable>},
    {"callable", Simple<IsCallable>},
    {"escaped", Simple<IsNever>},
    {"odd", IsOdd},
    {"even", IsEven},
    {"divisibleby", IsDivisibleBy},
    {"lower", IsLower},
    {"upper", IsUpper},
    {"sameas", IsSameAs},
    {"in", IsIn},
    {"filter", IsFilter},
    {"test", IsTest},
    {"==", IsEqual},
    {"eq", IsEqual},
    {"equalto", IsEqual},
    {"!=", IsNotEqual},
    {"ne", IsNotEqual},
    {"<", IsLess},
    {"lt", IsLess},
    {"lessthan", IsLess},
    {">", IsGreater},
    {"gt", IsGreater},
    {"greaterthan", IsGreater},
    {"<=", IsLessOrEqual},
    {"le", IsLessOrEqual},
    {">=", IsGreaterOrEqual},
    {"ge", IsGreaterOrEqual},
};

}  // namespace

TestFunction FindTest(std::string_view name) {
  const auto* found = std::find_if(std::begin(kTests), std::end(kTests),
                                   [name](const TestEntry& entry) { return entry.name == name; });
  return found == std::end(kTests) ? nullptr : found->function;
}

}  // namespace headgate::jinja
