// Runs a parsed template once. Everything that it makes dies with it. One thread, one use.
#pragma once

#include <deque>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "base/clock.h"
#include "server/template/ast.h"
#include "server/template/budget.h"
#include "server/template/call_args.h"
#include "server/template/text.h"
#include "server/template/value.h"

namespace headgate::jinja {

// The variables of one block. Names are views into the tree or the context.
struct Scope {
  Scope* parent = nullptr;
  std::vector<std::pair<std::string_view, Value>> variables;

  Value* Find(std::string_view name);
};

// A macro with the scope that it was defined in.
struct MacroClosure {
  const MacroStmt* macro = nullptr;
  Scope* scope = nullptr;
};

class Evaluator {
 public:
  // Both outlive the evaluator.
  Evaluator(Budget& budget, const Clock& clock) : budget_(budget), clock_(clock) {}
  Evaluator(const Evaluator&) = delete;
  Evaluator& operator=(const Evaluator&) = delete;

  // The rendered text. Errors carry no line; error_line() has it.
  absl::StatusOr<Text> Run(const Body& body,
                           std::vector<std::pair<std::string_view, Value>> context);

  int error_line() const { return error_line_; }

 private:
  enum class Flow : uint8_t { kNext, kBreak, kContinue };

  // Statements (evaluate_statement.cc).
  absl::StatusOr<Flow> Execute(const Body& body);
  absl::StatusOr<Flow> ExecuteOne(const Stmt& stmt);
  absl::StatusOr<Flow> Execute(const DataStmt& stmt);
  absl::StatusOr<Flow> Execute(const PrintStmt& stmt);
  absl::StatusOr<Flow> Execute(const SetStmt& stmt);
  absl::StatusOr<Flow> Execute(const SetBlockStmt& stmt);
  absl::StatusOr<Flow> Execute(const ForStmt& stmt);
  absl::StatusOr<Flow> Execute(const IfStmt& stmt);
  absl::StatusOr<Flow> Execute(const MacroStmt& stmt);
  absl::StatusOr<Flow> Execute(const CallBlockStmt& stmt);
  absl::StatusOr<Flow> Execute(const FilterBlockStmt& stmt);
  absl::StatusOr<Flow> Execute(const WithStmt& stmt);
  absl::StatusOr<Flow> Execute(const LoopControlStmt& stmt);
  absl::StatusOr<std::vector<Value>> LoopItems(const ForStmt& stmt);
  // Runs `body` in `scope` and into a text of its own.
  absl::StatusOr<Value> Capture(const Body& body, Scope* scope);
  absl::Status Assign(const Target& target, const Value& value);
  absl::Status AssignTuple(const Target& target, const Value& value);
  absl::StatusOr<Scope*> NewScope(Scope* parent);
  absl::Status Write(const Text& text);

  // Expressions (evaluate_expression.cc).
  // Counts a step and a level of nesting; the caller leaves the level unless this fails.
  absl::Status Enter(int line);
  absl::StatusOr<Value> Evaluate(const Expr& expr);
  absl::StatusOr<Value> EvaluateOr(const ExprPtr& expr, const Value& absent);
  absl::StatusOr<Value> EvaluateNode(const LiteralExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const NameExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const AttributeExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const SubscriptExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const SliceExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const CallExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const FilterExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const TestExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const NotExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const SignExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const BinaryExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const LogicalExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const ConcatExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const CompareExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const ConditionalExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const SequenceExpr& expr);
  absl::StatusOr<Value> EvaluateNode(const DictExpr& expr);

  // Filters, calls, macros (evaluate_call.cc).
  absl::StatusOr<CallArgs> EvaluateArguments(const Arguments& args);
  absl::StatusOr<Value> ApplyFilters(const Expr& filter, const Value& text);
  absl::StatusOr<Value> Call(const Value& callee, const CallArgs& args);
  absl::StatusOr<Value> CallGlobal(std::string_view name, const CallArgs& args);
  absl::StatusOr<Value> CallNamespace(const CallArgs& args);
  absl::StatusOr<Value> CallMacro(const MacroClosure& closure, const CallArgs& args);
  absl::Status BindMacro(const MacroStmt& macro, const CallArgs& args);
  Value MakeMacro(const MacroStmt& macro);

  Budget& budget_;
  const Clock& clock_;
  // Owners of what values point to; kept until the render ends, so that cycles do no harm.
  std::deque<Scope> scopes_;
  std::deque<Namespace> namespaces_;
  std::deque<LoopState> loops_;
  std::deque<MacroClosure> closures_;
  Scope* scope_ = nullptr;
  Text* out_ = nullptr;
  const Value* filter_input_ = nullptr;  // the text of the filter block being filtered
  int depth_ = 0;
  int error_line_ = 0;
};

// Functions that every template can call, by name; an undefined value for any other name.
Value FindGlobal(std::string_view name);

}  // namespace headgate::jinja
