#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/compare.h"
#include "server/template/evaluator.h"
#include "server/template/operators.h"
#include "server/template/stringify.h"

namespace headgate::jinja {
namespace {

absl::StatusOr<bool> CompareOnce(Budget& budget, CompareOp op, const Value& left,
                                 const Value& right) {
  absl::StatusOr<bool> result = false;
  switch (op) {
    case CompareOp::kEqual:
      return Equals(budget, left, right);
    case CompareOp::kLess:
      return Less(budget, left, right);
    case CompareOp::kGreater:
      return Less(budget, right, left);
    case CompareOp::kLessEqual:
      return LessOrEqual(budget, left, right);
    case CompareOp::kGreaterEqual:
      return LessOrEqual(budget, right, left);
    case CompareOp::kIn:
      return Contains(budget, right, left);
    case CompareOp::kNotEqual:
      result = Equals(budget, left, right);
      break;
    case CompareOp::kNotIn:
      result = Contains(budget, right, left);
      break;
  }
  if (result.ok()) result = !*result;
  return result;
}

}  // namespace

absl::Status Evaluator::Enter(int line) {
  absl::Status status = budget_.Step();
  if (status.ok() && depth_ >= budget_.limits().evaluation_depth_max) {
    status = absl::ResourceExhaustedError("expressions or macro calls are nested too deeply");
  }
  if (status.ok()) {
    ++depth_;
  } else if (error_line_ == 0) {
    error_line_ = line;
  }
  return status;
}

absl::StatusOr<Value> Evaluator::Evaluate(const Expr& expr) {
  RETURN_IF_ERROR(Enter(expr.line));
  absl::StatusOr<Value> value =
      std::visit([this](const auto& node) { return EvaluateNode(node); }, expr.node);
  --depth_;
  if (!value.ok() && error_line_ == 0) error_line_ = expr.line;
  return value;
}

absl::StatusOr<Value> Evaluator::EvaluateOr(const ExprPtr& expr, const Value& absent) {
  if (expr == nullptr) return absent;
  return Evaluate(*expr);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const LiteralExpr& expr) { return expr.value; }

absl::StatusOr<Value> Evaluator::EvaluateNode(const NameExpr& expr) {
  if (const Value* value = scope_->Find(expr.name)) return *value;
  return FindGlobal(expr.name);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const AttributeExpr& expr) {
  ASSIGN_OR_RETURN(const Value object, Evaluate(*expr.object));
  return GetAttribute(budget_, object, expr.name);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const SubscriptExpr& expr) {
  ASSIGN_OR_RETURN(const Value object, Evaluate(*expr.object));
  ASSIGN_OR_RETURN(const Value key, Evaluate(*expr.key));
  return GetItem(budget_, object, key);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const SliceExpr& expr) {
  ASSIGN_OR_RETURN(const Value object, Evaluate(*expr.object));
  const Value none(None{});
  ASSIGN_OR_RETURN(const Value start, EvaluateOr(expr.start, none));
  ASSIGN_OR_RETURN(const Value stop, EvaluateOr(expr.stop, none));
  ASSIGN_OR_RETURN(const Value step, EvaluateOr(expr.step, none));
  return GetSlice(budget_, object, start, stop, step);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const NotExpr& expr) {
  ASSIGN_OR_RETURN(const Value operand, Evaluate(*expr.operand));
  return Value::Bool(!Truthy(operand));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const SignExpr& expr) {
  ASSIGN_OR_RETURN(const Value operand, Evaluate(*expr.operand));
  if (expr.negative) return Negate(operand);
  if (operand.IsUndefined()) return UndefinedError(operand);
  if (operand.IsFloat()) return operand;
  if (operand.IsIntegral()) return Value::Int(operand.integer(), operand.trusted());
  return absl::InvalidArgumentError(
      absl::StrCat("bad operand type for unary +: '", operand.TypeName(), "'"));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const BinaryExpr& expr) {
  ASSIGN_OR_RETURN(const Value left, Evaluate(*expr.left));
  ASSIGN_OR_RETURN(const Value right, Evaluate(*expr.right));
  return Arithmetic(budget_, expr.op, left, right);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const LogicalExpr& expr) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*expr.left));
  if (Truthy(left) != expr.is_and) return left;
  return Evaluate(*expr.right);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const ConcatExpr& expr) {
  Value sum = Value::String(Text());
  for (const ExprPtr& part : expr.parts) {
    ASSIGN_OR_RETURN(const Value value, Evaluate(*part));
    ASSIGN_OR_RETURN(const Value text, ToString(budget_, value));
    ASSIGN_OR_RETURN(sum, ConcatenateStrings(budget_, sum, text));
  }
  return sum;
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const CompareExpr& expr) {
  ASSIGN_OR_RETURN(Value left, Evaluate(*expr.first));
  for (const auto& [op, operand] : expr.rest) {
    ASSIGN_OR_RETURN(Value right, Evaluate(*operand));
    ASSIGN_OR_RETURN(const bool holds, CompareOnce(budget_, op, left, right));
    if (!holds) return Value::Bool(false);
    left = std::move(right);
  }
  return Value::Bool(true);
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const ConditionalExpr& expr) {
  ASSIGN_OR_RETURN(const Value condition, Evaluate(*expr.condition));
  if (Truthy(condition)) return Evaluate(*expr.then);
  return EvaluateOr(expr.otherwise,
                    Value::Missing("the condition of an if without else was false"));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const SequenceExpr& expr) {
  std::vector<Value> items;
  items.reserve(expr.items.size());
  for (const ExprPtr& item : expr.items) {
    ASSIGN_OR_RETURN(Value value, Evaluate(*item));
    items.push_back(std::move(value));
  }
  return MakeSequence(budget_, expr.kind, std::move(items));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const DictExpr& expr) {
  std::vector<std::pair<Value, Value>> entries;
  entries.reserve(expr.entries.size());
  for (const auto& [key_expr, value_expr] : expr.entries) {
    ASSIGN_OR_RETURN(Value key, Evaluate(*key_expr));
    ASSIGN_OR_RETURN(Value value, Evaluate(*value_expr));
    entries.emplace_back(std::move(key), std::move(value));
  }
  return MakeDict(budget_, std::move(entries));
}

absl::StatusOr<Value> Evaluator::EvaluateNode(const TestExpr& expr) {
  ASSIGN_OR_RETURN(const Value input, Evaluate(*expr.input));
  ASSIGN_OR_RETURN(const CallArgs args, EvaluateArguments(expr.args));
  if (expr.function == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat("there is no test '", expr.name, "'"));
  }
  ASSIGN_OR_RETURN(const bool holds, expr.function(budget_, input, args));
  return Value::Bool(holds);
}

}  // namespace headgate::jinja
