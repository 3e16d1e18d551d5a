#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/operators.h"
#include "server/template/string_format.h"

namespace headgate::jinja {
namespace {

constexpr const char* kSymbols[] = {"+", "-", "*", "/", "//", "%", "**"};

absl::Status WrongTypes(BinaryOp op, const Value& left, const Value& right) {
  if (left.IsUndefined()) return UndefinedError(left);
  if (right.IsUndefined()) return UndefinedError(right);
  return absl::InvalidArgumentError(
      absl::StrCat("unsupported operand type(s) for ", kSymbols[static_cast<int>(op)], ": '",
                   left.TypeName(), "' and '", right.TypeName(), "'"));
}

absl::Status Overflow() { return absl::InvalidArgumentError("integer result is beyond 64 bits"); }
absl::Status DivisionByZero() { return absl::InvalidArgumentError("division by zero"); }

absl::StatusOr<Value> Power(int64_t base, int64_t exponent, bool trusted) {
  if (exponent < 0) {
    if (base == 0) return DivisionByZero();
    return Value::Float(std::pow(static_cast<double>(base), static_cast<double>(exponent)),
                        trusted);
  }
  int64_t result = 1;
  while (exponent > 0) {
    if ((exponent & 1) != 0 && __builtin_mul_overflow(result, base, &result)) return Overflow();
    exponent >>= 1;
    if (exponent > 0 && __builtin_mul_overflow(base, base, &base)) return Overflow();
  }
  return Value::Int(result, trusted);
}

absl::StatusOr<Value> IntegerDivision(BinaryOp op, int64_t a, int64_t b, bool trusted) {
  if (b == 0) return DivisionByZero();
  if (op == BinaryOp::kDivide) {
    return Value::Float(static_cast<double>(a) / static_cast<double>(b), trusted);
  }
  if (b == -1) {  // INT64_MIN / -1 does not fit
    if (op == BinaryOp::kModulo) return Value::Int(0, trusted);
    if (a == std::numeric_limits<int64_t>::min()) return Overflow();
    return Value::Int(-a, trusted);
  }
  int64_t quotient = a / b;
  int64_t rest = a % b;
  if (rest != 0 && (rest < 0) != (b < 0)) {
    --quotient;
    rest += b;
  }
  return Value::Int(op == BinaryOp::kModulo ? rest : quotient, trusted);
}

absl::StatusOr<Value> IntegerArithmetic(BinaryOp op, int64_t a, int64_t b, bool trusted) {
  int64_t result = 0;
  bool overflow = false;
  switch (op) {
    case BinaryOp::kAdd:
      overflow = __builtin_add_overflow(a, b, &result);
      break;
    case BinaryOp::kSubtract:
      overflow = __builtin_sub_overflow(a, b, &result);
      break;
    case BinaryOp::kMultiply:
      overflow = __builtin_mul_overflow(a, b, &result);
      break;
    case BinaryOp::kPower:
      return Power(a, b, trusted);
    default:
      return IntegerDivision(op, a, b, trusted);
  }
  if (overflow) return Overflow();
  return Value::Int(result, trusted);
}

absl::StatusOr<Value> FloatArithmetic(BinaryOp op, double a, double b, bool trusted) {
  switch (op) {
    case BinaryOp::kAdd:
      return Value::Float(a + b, trusted);
    case BinaryOp::kSubtract:
      return Value::Float(a - b, trusted);
    case BinaryOp::kMultiply:
      return Value::Float(a * b, trusted);
    case BinaryOp::kPower: {
      if (a == 0 && b < 0) return DivisionByZero();
      const double result = std::pow(a, b);
      if (!std::isfinite(result) && std::isfinite(a) && std::isfinite(b)) {
        return absl::InvalidArgumentError("numerical result out of range");
      }
      return Value::Float(result, trusted);
    }
    default:
      break;
  }
  if (b == 0) return DivisionByZero();
  if (op == BinaryOp::kDivide) return Value::Float(a / b, trusted);
  double rest = std::fmod(a, b);
  double quotient = (a - rest) / b;
  if (rest != 0 && (rest < 0) != (b < 0)) {
    rest += b;
    quotient -= 1;
  } else if (rest == 0) {
    rest = std::copysign(0.0, b);
  }
  if (op == BinaryOp::kModulo) return Value::Float(rest, trusted);
  return Value::Float(quotient == 0 ? std::copysign(0.0, a / b) : std::round(quotient), trusted);
}

absl::StatusOr<Value> RepeatText(Budget& budget, const Text& text, int64_t times) {
  if (times <= 0 || text.empty()) return MakeString(budget, Text());
  const auto count = static_cast<size_t>(times);
  if (count > budget.limits().output_bytes_max / text.size()) {
    return budget.AllocateString(budget.limits().output_bytes_max + 1);
  }
  RETURN_IF_ERROR(budget.AllocateString(text.memory_bytes() * count));
  Text repeated;
  for (size_t i = 0; i < count; ++i) repeated.Append(text);
  return Value::String(std::move(repeated));
}

absl::StatusOr<Value> RepeatSequence(Budget& budget, const Sequence& sequence, int64_t times) {
  std::vector<Value> items;
  if (times > 0 && !sequence.items.empty()) {
    const size_t fit = budget.limits().memory_bytes_max / (sequence.items.size() * sizeof(Value));
    if (static_cast<size_t>(times) > fit)
      return budget.Allocate(budget.limits().memory_bytes_max + 1);
    const size_t total = static_cast<size_t>(times) * sequence.items.size();
    RETURN_IF_ERROR(budget.Allocate(total * sizeof(Value)));
    RETURN_IF_ERROR(budget.Step(total));
    items.reserve(total);
    for (int64_t i = 0; i < times; ++i) {
      items.insert(items.end(), sequence.items.begin(), sequence.items.end());
    }
  }
  return MakeSequence(budget, sequence.kind, std::move(items));
}

bool IsListOrTuple(const Value& value) {
  return value.IsSequence() && (value.sequence().kind == SequenceKind::kList ||
                                value.sequence().kind == SequenceKind::kTuple);
}

absl::StatusOr<Value> AddSequences(Budget& budget, const Sequence& left, const Sequence& right,
                                   bool trusted) {
  const size_t total = left.items.size() + right.items.size();
  RETURN_IF_ERROR(budget.Allocate(total * sizeof(Value)));
  RETURN_IF_ERROR(budget.Step(1 + total / 16));
  std::vector<Value> items;
  items.reserve(total);
  items.insert(items.end(), left.items.begin(), left.items.end());
  items.insert(items.end(), right.items.begin(), right.items.end());
  return MakeSequence(budget, left.kind, std::move(items), trusted);
}

absl::StatusOr<Value> Repeat(Budget& budget, const Value& value, const Value& times) {
  if (value.IsString()) return RepeatText(budget, value.text(), times.integer());
  return RepeatSequence(budget, value.sequence(), times.integer());
}

}  // namespace

absl::StatusOr<Value> Arithmetic(Budget& budget, BinaryOp op, const Value& left,
                                 const Value& right) {
  const bool trusted = left.trusted() && right.trusted();
  if (left.IsIntegral() && right.IsIntegral()) {
    return IntegerArithmetic(op, left.integer(), right.integer(), trusted);
  }
  if (left.IsNumber() && right.IsNumber()) {
    return FloatArithmetic(op, left.number(), right.number(), trusted);
  }
  if (op == BinaryOp::kAdd) {
    if (left.IsString() && right.IsString()) return ConcatenateStrings(budget, left, right);
    if (IsListOrTuple(left) && IsListOrTuple(right) &&
        left.sequence().kind == right.sequence().kind) {
      return AddSequences(budget, left.sequence(), right.sequence(), trusted);
    }
  }
  if (op == BinaryOp::kMultiply) {
    if ((left.IsString() || IsListOrTuple(left)) && right.IsIntegral()) {
      return Repeat(budget, left, right);
    }
    if ((right.IsString() || IsListOrTuple(right)) && left.IsIntegral()) {
      return Repeat(budget, right, left);
    }
  }
  if (op == BinaryOp::kModulo && left.IsString()) return PercentFormat(budget, left.text(), right);
  return WrongTypes(op, left, right);
}

absl::StatusOr<Value> Negate(const Value& value) {
  if (value.IsUndefined()) return UndefinedError(value);
  if (value.IsFloat()) return Value::Float(-value.number(), value.trusted());
  if (!value.IsIntegral()) {
    return absl::InvalidArgumentError(
        absl::StrCat("bad operand type for unary -: '", value.TypeName(), "'"));
  }
  if (value.integer() == std::numeric_limits<int64_t>::min()) return Overflow();
  return Value::Int(-value.integer(), value.trusted());
}

absl::StatusOr<Value> ConcatenateStrings(Budget& budget, const Value& left, const Value& right) {
  RETURN_IF_ERROR(budget.AllocateString(left.text().size() + right.text().size()));
  if (left.text().empty()) return right;
  if (right.text().empty()) return left;
  Text sum = left.text();
  sum.Append(right.text());
  RETURN_IF_ERROR(budget.Allocate(sum.spans().size() * sizeof(Span)));
  return Value::String(std::move(sum));
}

}  // namespace headgate::jinja
