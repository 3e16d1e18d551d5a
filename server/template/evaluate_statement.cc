#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/evaluator.h"
#include "server/template/stringify.h"

namespace headgate::jinja {
namespace {

// Sets a variable for the time of a block.
template <typename T>
class Restored {
 public:
  Restored(T* place, T value) : place_(place), old_(std::exchange(*place, value)) {}
  ~Restored() { *place_ = old_; }
  Restored(const Restored&) = delete;
  Restored& operator=(const Restored&) = delete;

 private:
  T* place_;
  T old_;
};

void SetVariable(Scope& scope, std::string_view name, const Value& value) {
  for (auto& [known, old] : scope.variables) {
    if (known != name) continue;
    old = value;
    return;
  }
  scope.variables.emplace_back(name, value);
}

}  // namespace

Value* Scope::Find(std::string_view name) {
  for (Scope* scope = this; scope != nullptr; scope = scope->parent) {
    for (auto& [known, value] : scope->variables) {
      if (known == name) return &value;
    }
  }
  return nullptr;
}

absl::StatusOr<Text> Evaluator::Run(const Body& body,
                                    std::vector<std::pair<std::string_view, Value>> context) {
  Text text;
  out_ = &text;
  ASSIGN_OR_RETURN(scope_, NewScope(nullptr));
  scope_->variables = std::move(context);
  RETURN_IF_ERROR(Execute(body).status());
  return text;
}

absl::StatusOr<Scope*> Evaluator::NewScope(Scope* parent) {
  RETURN_IF_ERROR(budget_.Allocate(sizeof(Scope) + 4 * sizeof(Value)));
  scopes_.push_back({parent, {}});
  return &scopes_.back();
}

absl::Status Evaluator::Write(const Text& text) {
  RETURN_IF_ERROR(budget_.Allocate(text.size() + text.spans().size() * sizeof(Span)));
  if (text.size() > budget_.limits().output_bytes_max - out_->size()) {
    return budget_.AllocateString(out_->size() + text.size());
  }
  out_->Append(text);
  return absl::OkStatus();
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const Body& body) {
  for (const auto& stmt : body) {
    ASSIGN_OR_RETURN(const Flow flow, ExecuteOne(*stmt));
    if (flow != Flow::kNext) return flow;
  }
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::ExecuteOne(const Stmt& stmt) {
  RETURN_IF_ERROR(Enter(stmt.line));
  absl::StatusOr<Flow> flow =
      std::visit([this](const auto& node) { return Execute(node); }, stmt.node);
  --depth_;
  if (!flow.ok() && error_line_ == 0) error_line_ = stmt.line;
  return flow;
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const DataStmt& stmt) {
  RETURN_IF_ERROR(Write(stmt.text.text()));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const PrintStmt& stmt) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*stmt.value));
  ASSIGN_OR_RETURN(const Value text, ToString(budget_, value));
  RETURN_IF_ERROR(Write(text.text()));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const SetStmt& stmt) {
  ASSIGN_OR_RETURN(const Value value, Evaluate(*stmt.value));
  RETURN_IF_ERROR(Assign(stmt.target, value));
  return Flow::kNext;
}

absl::StatusOr<Value> Evaluator::Capture(const Body& body, Scope* scope) {
  Text text;
  const Restored<Text*> out(&out_, &text);
  const Restored<Scope*> inner(&scope_, scope);
  RETURN_IF_ERROR(Execute(body).status());
  return Value::String(std::move(text));  // its bytes were counted when they were written
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const SetBlockStmt& stmt) {
  ASSIGN_OR_RETURN(Scope * scope, NewScope(scope_));
  ASSIGN_OR_RETURN(Value text, Capture(stmt.body, scope));
  if (stmt.filter != nullptr) {
    ASSIGN_OR_RETURN(text, ApplyFilters(*stmt.filter, text));
  }
  RETURN_IF_ERROR(Assign(stmt.target, text));
  return Flow::kNext;
}

absl::StatusOr<std::vector<Value>> Evaluator::LoopItems(const ForStmt& stmt) {
  ASSIGN_OR_RETURN(const Value iterable, Evaluate(*stmt.iterable));
  if (iterable.IsUndefined() && stmt.target.is_tuple) return std::vector<Value>();
  ASSIGN_OR_RETURN(std::vector<Value> items, Iterate(budget_, iterable));
  if (stmt.condition == nullptr) return items;
  std::vector<Value> kept;
  for (Value& item : items) {
    ASSIGN_OR_RETURN(Scope * scope, NewScope(scope_));
    const Restored<Scope*> inner(&scope_, scope);
    RETURN_IF_ERROR(Assign(stmt.target, item));
    ASSIGN_OR_RETURN(const Value keep, Evaluate(*stmt.condition));
    if (Truthy(keep)) kept.push_back(std::move(item));
  }
  return kept;
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const ForStmt& stmt) {
  ASSIGN_OR_RETURN(std::vector<Value> items, LoopItems(stmt));
  loops_.emplace_back();
  LoopState& loop = loops_.back();
  loop.items = std::move(items);
  bool completed = false;  // as in Jinja2, an iteration that breaks or continues does not count
  for (size_t i = 0; i < loop.items.size(); ++i) {
    RETURN_IF_ERROR(budget_.Step());
    loop.index0 = i;
    ASSIGN_OR_RETURN(Scope * scope, NewScope(scope_));
    const Restored<Scope*> inner(&scope_, scope);
    SetVariable(*scope, "loop", Value(Value::Data(&loop)));
    RETURN_IF_ERROR(Assign(stmt.target, loop.items[i]));
    ASSIGN_OR_RETURN(const Flow flow, Execute(stmt.body));
    if (flow == Flow::kBreak) break;
    if (flow == Flow::kNext) completed = true;
  }
  if (completed || stmt.otherwise.empty()) return Flow::kNext;
  ASSIGN_OR_RETURN(Scope * scope, NewScope(scope_));
  const Restored<Scope*> inner(&scope_, scope);
  return Execute(stmt.otherwise);
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const IfStmt& stmt) {
  for (const auto& [condition, body] : stmt.branches) {
    ASSIGN_OR_RETURN(const Value value, Evaluate(*condition));
    if (Truthy(value)) return Execute(body);
  }
  return Execute(stmt.otherwise);
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const MacroStmt& stmt) {
  SetVariable(*scope_, stmt.name, MakeMacro(stmt));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const CallBlockStmt& stmt) {
  const auto& call = std::get<CallExpr>(stmt.call->node);
  ASSIGN_OR_RETURN(const Value callee, Evaluate(*call.callee));
  ASSIGN_OR_RETURN(CallArgs args, EvaluateArguments(call.args));
  args.named.emplace_back("caller", MakeMacro(stmt.caller));
  ASSIGN_OR_RETURN(const Value result, Call(callee, args));
  ASSIGN_OR_RETURN(const Value text, ToString(budget_, result));
  RETURN_IF_ERROR(Write(text.text()));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const FilterBlockStmt& stmt) {
  ASSIGN_OR_RETURN(Scope * scope, NewScope(scope_));
  ASSIGN_OR_RETURN(Value text, Capture(stmt.body, scope));
  ASSIGN_OR_RETURN(text, ApplyFilters(*stmt.filter, text));
  ASSIGN_OR_RETURN(text, ToString(budget_, text));
  RETURN_IF_ERROR(Write(text.text()));
  return Flow::kNext;
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const WithStmt& stmt) {
  std::vector<Value> values;
  for (const auto& entry : stmt.values) {  // each sees the scope outside of the block
    ASSIGN_OR_RETURN(Value value, Evaluate(*entry.second));
    values.push_back(std::move(value));
  }
  ASSIGN_OR_RETURN(Scope * scope, NewScope(scope_));
  const Restored<Scope*> inner(&scope_, scope);
  for (size_t i = 0; i < values.size(); ++i) {
    RETURN_IF_ERROR(Assign(stmt.values[i].first, values[i]));
  }
  return Execute(stmt.body);
}

absl::StatusOr<Evaluator::Flow> Evaluator::Execute(const LoopControlStmt& stmt) {
  return stmt.is_break ? Flow::kBreak : Flow::kContinue;
}

absl::Status Evaluator::Assign(const Target& target, const Value& value) {
  if (target.is_tuple) return AssignTuple(target, value);
  if (target.field.empty()) {
    SetVariable(*scope_, target.name, value);
    return absl::OkStatus();
  }
  Value* object = scope_->Find(target.name);
  if (object == nullptr || !object->IsNamespace()) {
    return absl::InvalidArgumentError(
        absl::StrCat("cannot assign a field of '", target.name, "': it is no namespace"));
  }
  Namespace& name_space = *object->name_space();
  if (Value* field = name_space.Find(target.field)) {
    *field = value;
  } else {
    name_space.fields.emplace_back(target.field, value);
  }
  return absl::OkStatus();
}

absl::Status Evaluator::AssignTuple(const Target& target, const Value& value) {
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget_, value));
  if (items.size() != target.parts.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("expected ", target.parts.size(), " values to unpack, got ", items.size()));
  }
  for (size_t i = 0; i < items.size(); ++i) RETURN_IF_ERROR(Assign(target.parts[i], items[i]));
  return absl::OkStatus();
}

}  // namespace headgate::jinja
