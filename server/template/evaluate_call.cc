#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "base/status_macros.h"
#include "server/template/evaluator.h"
#include "server/template/methods.h"
#include "server/template/stringify.h"

namespace headgate::jinja {
namespace {

constexpr std::string_view kGlobals[] = {"range", "namespace", "dict", "raise_exception",
                                         "strftime_now"};
constexpr size_t kMessageBytesMax = 512;
constexpr size_t kTimeFormatBytesMax = 256;

absl::StatusOr<Value> CallRange(Budget& budget, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("range", {"start", "stop", "step"}, 1, args));
  bool trusted = true;
  for (const auto& arg : bound) {
    if (arg.has_value() && !arg->IsIntegral()) {
      return absl::InvalidArgumentError("range() needs integers");
    }
    trusted = trusted && (!arg.has_value() || arg->trusted());
  }
  const bool one = !bound[1].has_value();
  const int64_t start = one ? 0 : bound[0]->integer();
  const int64_t stop = one ? bound[0]->integer() : bound[1]->integer();
  const int64_t step = bound[2].has_value() ? bound[2]->integer() : 1;
  if (step == 0) return absl::InvalidArgumentError("range() step must not be zero");
  const auto span = static_cast<__int128>(stop) - start;
  __int128 count = span / step + (span % step != 0 ? 1 : 0);
  if ((span < 0) != (step < 0)) count = 0;
  if (span == 0) count = 0;
  if (count > budget.limits().range_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("range() has more than ", budget.limits().range_max, " elements"));
  }
  RETURN_IF_ERROR(budget.Allocate(static_cast<size_t>(count) * sizeof(Value)));
  std::vector<Value> items;
  items.reserve(static_cast<size_t>(count));
  for (int64_t i = 0; i < static_cast<int64_t>(count); ++i) {
    items.push_back(Value::Int(start + i * step, trusted));
  }
  return MakeSequence(budget, SequenceKind::kRange, std::move(items), trusted);
}

// The entries of dict(mapping, name=value, ...) and namespace(...).
absl::StatusOr<std::vector<std::pair<Value, Value>>> DictEntries(Budget& budget,
                                                                 const CallArgs& args) {
  std::vector<std::pair<Value, Value>> entries;
  if (args.positional.size() > 1) {
    return absl::InvalidArgumentError("dict() takes at most one positional argument");
  }
  if (!args.positional.empty()) {
    const Value& from = args.positional.front();
    if (from.IsDict()) {
      RETURN_IF_ERROR(budget.Allocate(from.dict().entries.size() * 2 * sizeof(Value)));
      entries = from.dict().entries;
    } else {
      ASSIGN_OR_RETURN(const std::vector<Value> pairs, Iterate(budget, from));
      for (const Value& pair : pairs) {
        ASSIGN_OR_RETURN(std::vector<Value> two, Iterate(budget, pair));
        if (two.size() != 2) return absl::InvalidArgumentError("dict() needs pairs");
        entries.emplace_back(std::move(two[0]), std::move(two[1]));
      }
    }
  }
  for (const auto& [name, value] : args.named) {
    entries.emplace_back(Value::String(Text(name, true)), value);
  }
  return entries;
}

absl::StatusOr<Value> CallRaise(Budget& budget, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("raise_exception", {"message"}, 1, args));
  ASSIGN_OR_RETURN(const Value text, ToString(budget, *bound[0]));
  return absl::InvalidArgumentError(std::string(text.view().substr(0, kMessageBytesMax)));
}

// UTC: servers have no time zone of their own.
absl::StatusOr<Value> CallTime(Budget& budget, const Clock& clock, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("strftime_now", {"format"}, 1, args));
  ASSIGN_OR_RETURN(const Text format, TextArg(bound[0], ""));
  if (format.size() > kTimeFormatBytesMax) {
    return absl::InvalidArgumentError("strftime_now: the format is too long");
  }
  const std::string time =
      absl::FormatTime(std::string(format.view()), clock.Now(), absl::UTCTimeZone());
  return MakeString(budget, Text(time, format.trusted()));
}

}  // namespace

Value FindGlobal(std::string_view name) {
  if (std::find(std::begin(kGlobals), std::end(kGlobals), name) == std::end(kGlobals)) {
    return Value::Missing(absl::StrCat("'", std::string(name.substr(0, 64)), "' is undefined"));
  }
  auto function = std::make_shared<Callable>();
  function->name = name;
  return Value(Value::Data(std::shared_ptr<const Callable>(std::move(function))));
}

absl::StatusOr<CallArgs> Evaluator::EvaluateArguments(const Arguments& args) {
  CallArgs evaluated;
  for (const ExprPtr& expr : args.positional) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*expr));
    evaluated.positional.push_back(std::move(value));
  }
  for (const auto& [name, expr] : args.named) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*expr));
    evaluated.named.emplace_back(name, std::move(value));
  }
  if (args.star != nullptr) {
    ASSIGN_OR_RETURN(const Value star, Evaluate(*args.star));
    ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget_, star));
    evaluated.positional.insert(evaluated.positional.end(), items.begin(), items.end());
  }
  if (args.double_star != nullptr) {
    ASSIGN_OR_RETURN(const Value mapping, Evaluate(*args.double_star));
    if (!mapping.IsDict())
      return absl::InvalidArgumentError("the argument after ** needs a mapping");
    for (const auto& [key, value] : mapping.dict().entries) {
      if (!key.IsString()) return absl::InvalidArgumentError("keywords must be strings");
      RETURN_IF_ERROR(budget_.Allocate(sizeof(Value) + key.text().size()));
      evaluated.named.emplace_back(std::string(key.view()), value);
    }
  }
  return evaluated;
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const FilterExpr& expr) {
  Value input;
  if (expr.input != nullptr) {
    ASSIGN_OR_RETURN(input, Evaluate(*expr.input));
  } else {
    input = *filter_input_;
  }
  ASSIGN_OR_RETURN(const CallArgs args, EvaluateArguments(expr.args));
  if (expr.function == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("there is no filter '", expr.name, "'"));
  }
  return expr.function(budget_, input, args);
}

absl::StatusOr<Value> Evaluator::ApplyFilters(const Expr& filter, const Value& text) {
  const Value* outside = std::exchange(filter_input_, &text);
  absl::StatusOr<Value> result = Evaluate(filter);
  filter_input_ = outside;
  return result;
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const CallExpr& expr) {
  ASSIGN_OR_RETURN(const Value callee, Evaluate(*expr.callee));
  ASSIGN_OR_RETURN(const CallArgs args, EvaluateArguments(expr.args));
  return Call(callee, args);
}

absl::StatusOr<Value> Evaluator::Call(const Value& callee, const CallArgs& args) {
  if (callee.IsUndefined()) return UndefinedError(callee);
  if (!callee.IsCallable()) {
    return absl::InvalidArgumentError(
        absl::StrCat("'", callee.TypeName(), "' object is not callable"));
  }
  const Callable& callable = callee.callable();
  switch (callable.kind) {
    case Callable::Kind::kGlobal:
      return CallGlobal(callable.name, args);
    case Callable::Kind::kMethod:
      return CallMethod(budget_, callable.self, callable.name, args);
    case Callable::Kind::kMacro:
      return CallMacro(*static_cast<const MacroClosure*>(callable.macro), args);
  }
  return absl::InternalError("unknown callable");
}

absl::StatusOr<Value> Evaluator::CallGlobal(std::string_view name, const CallArgs& args) {
  if (name == "range") return CallRange(budget_, args);
  if (name == "namespace") return CallNamespace(args);
  if (name == "raise_exception") return CallRaise(budget_, args);
  if (name == "strftime_now") return CallTime(budget_, clock_, args);
  ASSIGN_OR_RETURN(auto entries, DictEntries(budget_, args));
  return MakeDict(budget_, std::move(entries));
}

absl::StatusOr<Value> Evaluator::CallNamespace(const CallArgs& args) {
  ASSIGN_OR_RETURN(auto entries, DictEntries(budget_, args));
  RETURN_IF_ERROR(budget_.Allocate(sizeof(Namespace) + entries.size() * 2 * sizeof(Value)));
  Namespace name_space;
  for (auto& [key, value] : entries) {
    if (!key.IsString()) return absl::InvalidArgumentError("namespace() needs string names");
    RETURN_IF_ERROR(budget_.Step(1 + name_space.fields.size()));
    if (Value* field = name_space.Find(key.view())) {
      *field = std::move(value);
    } else {
      name_space.fields.emplace_back(std::string(key.view()), std::move(value));
    }
  }
  namespaces_.push_back(std::move(name_space));
  return Value(Value::Data(&namespaces_.back()));
}

Value Evaluator::MakeMacro(const MacroStmt& macro) {
  closures_.push_back({&macro, scope_});
  auto callable = std::make_shared<Callable>();
  callable->kind = Callable::Kind::kMacro;
  callable->macro = &closures_.back();
  return Value(Value::Data(std::shared_ptr<const Callable>(std::move(callable))));
}

// Gives the parameters their values in the current scope.
absl::Status Evaluator::BindMacro(const MacroStmt& macro, const CallArgs& args) {
  const Signature& signature = macro.signature;
  const size_t count = signature.names.size();
  if (args.positional.size() > count) {
    return absl::InvalidArgumentError(
        absl::StrCat("macro '", macro.name, "' takes not more than ", count, " arguments"));
  }
  std::vector<const Value*> given(count, nullptr);
  for (size_t i = 0; i < args.positional.size(); ++i) given[i] = &args.positional[i];
  for (const auto& [name, value] : args.named) {
    const auto found = std::find(signature.names.begin(), signature.names.end(), name);
    const auto index = static_cast<size_t>(found - signature.names.begin());
    if (index == count && name == "caller") {
      scope_->variables.emplace_back("caller", value);
    } else if (index == count || given[index] != nullptr) {
      return absl::InvalidArgumentError(
          absl::StrCat("macro '", macro.name, "' does not take this keyword argument, or twice: '",
                       name.substr(0, 64), "'"));
    } else {
      given[index] = &value;
    }
  }
  const size_t first_default = count - signature.defaults.size();
  for (size_t i = 0; i < count; ++i) {
    Value value =
        Value::Missing(absl::StrCat("parameter '", signature.names[i], "' was not provided"));
    if (given[i] != nullptr) {
      value = *given[i];
    } else if (i >= first_default) {
      ASSIGN_OR_RETURN(value, Evaluate(*signature.defaults[i - first_default]));
    }
    scope_->variables.emplace_back(signature.names[i], std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<Value> Evaluator::CallMacro(const MacroClosure& closure, const CallArgs& args) {
  ASSIGN_OR_RETURN(Scope * scope, NewScope(closure.scope));
  Scope* const outside = std::exchange(scope_, scope);
  const absl::Status bound = BindMacro(*closure.macro, args);
  scope_ = outside;
  RETURN_IF_ERROR(bound);
  return Capture(closure.macro->body, scope);
}

}  // namespace headgate::jinja
