#include <algorithm>

#include "base/status_macros.h"
#include "server/template/parser.h"

namespace headgate::jinja {

absl::StatusOr<ExprPtr> Parser::ParseExpression(bool with_conditional) {
  const Nested nested(&nesting_);
  RETURN_IF_ERROR(CheckNesting());
  return with_conditional ? ParseConditional() : ParseOr();
}

absl::StatusOr<ExprPtr> Parser::ParseConditional() {
  const int line = Current().line;
  const size_t unknown_before = unknown_.size();
  ASSIGN_OR_RETURN(ExprPtr then, ParseOr());
  while (SkipName("if")) {
    ASSIGN_OR_RETURN(ExprPtr condition, ParseOr());
    ExprPtr otherwise;
    if (SkipName("else")) {
      ASSIGN_OR_RETURN(otherwise, ParseExpression());
    }
    const int deepest =
        std::max({then->depth, condition->depth, otherwise == nullptr ? 0 : otherwise->depth});
    ASSIGN_OR_RETURN(
        then,
        Make(line, ConditionalExpr{std::move(condition), std::move(then), std::move(otherwise)},
             deepest));
    unknown_.resize(unknown_before);
  }
  return then;
}

absl::StatusOr<ExprPtr> Parser::ParseOr() {
  ASSIGN_OR_RETURN(ExprPtr left, ParseAnd());
  while (IsName("or")) {
    const int line = Take().line;
    ASSIGN_OR_RETURN(ExprPtr right, ParseAnd());
    const int deepest = std::max(left->depth, right->depth);
    ASSIGN_OR_RETURN(left,
                     Make(line, LogicalExpr{false, std::move(left), std::move(right)}, deepest));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParseAnd() {
  ASSIGN_OR_RETURN(ExprPtr left, ParseNot());
  while (IsName("and")) {
    const int line = Take().line;
    ASSIGN_OR_RETURN(ExprPtr right, ParseNot());
    const int deepest = std::max(left->depth, right->depth);
    ASSIGN_OR_RETURN(left,
                     Make(line, LogicalExpr{true, std::move(left), std::move(right)}, deepest));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParseNot() {
  if (!IsName("not")) return ParseCompare();
  const Nested nested(&nesting_);
  RETURN_IF_ERROR(CheckNesting());
  const int line = Take().line;
  ASSIGN_OR_RETURN(ExprPtr operand, ParseNot());
  const int deepest = operand->depth;
  return Make(line, NotExpr{std::move(operand)}, deepest);
}

bool Parser::ReadCompareOp(CompareOp* op) {
  struct Entry {
    std::string_view symbol;
    CompareOp op;
  };
  static constexpr Entry kSymbols[] = {
      {"==", CompareOp::kEqual},  {"!=", CompareOp::kNotEqual},
      {"<", CompareOp::kLess},    {"<=", CompareOp::kLessEqual},
      {">", CompareOp::kGreater}, {">=", CompareOp::kGreaterEqual}};
  for (const Entry& entry : kSymbols) {
    if (!SkipOperator(entry.symbol)) continue;
    *op = entry.op;
    return true;
  }
  if (SkipName("in")) {
    *op = CompareOp::kIn;
    return true;
  }
  if (IsName("not") && Next().kind == TokenKind::kName && Next().text == "in") {
    Take();
    Take();
    *op = CompareOp::kNotIn;
    return true;
  }
  return false;
}

absl::StatusOr<ExprPtr> Parser::ParseCompare() {
  const int line = Current().line;
  ASSIGN_OR_RETURN(ExprPtr first, ParseSum());
  CompareExpr compare;
  int deepest = first->depth;
  CompareOp op = CompareOp::kEqual;
  while (ReadCompareOp(&op)) {
    ASSIGN_OR_RETURN(ExprPtr operand, ParseSum());
    deepest = std::max(deepest, operand->depth);
    compare.rest.emplace_back(op, std::move(operand));
  }
  if (compare.rest.empty()) return first;
  compare.first = std::move(first);
  return Make(line, std::move(compare), deepest);
}

absl::StatusOr<ExprPtr> Parser::ParseSum() {
  ASSIGN_OR_RETURN(ExprPtr left, ParseConcat());
  while (IsOperator("+") || IsOperator("-")) {
    const Token token = Take();
    ASSIGN_OR_RETURN(ExprPtr right, ParseConcat());
    const int deepest = std::max(left->depth, right->depth);
    const BinaryOp op = token.text == "+" ? BinaryOp::kAdd : BinaryOp::kSubtract;
    ASSIGN_OR_RETURN(left,
                     Make(token.line, BinaryExpr{op, std::move(left), std::move(right)}, deepest));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParseConcat() {
  const int line = Current().line;
  ASSIGN_OR_RETURN(ExprPtr first, ParseProduct());
  if (!IsOperator("~")) return first;
  ConcatExpr concat;
  int deepest = first->depth;
  concat.parts.push_back(std::move(first));
  while (SkipOperator("~")) {
    ASSIGN_OR_RETURN(ExprPtr part, ParseProduct());
    deepest = std::max(deepest, part->depth);
    concat.parts.push_back(std::move(part));
  }
  return Make(line, std::move(concat), deepest);
}

absl::StatusOr<ExprPtr> Parser::ParseProduct() {
  ASSIGN_OR_RETURN(ExprPtr left, ParsePower());
  while (IsOperator("*") || IsOperator("/") || IsOperator("//") || IsOperator("%")) {
    const Token token = Take();
    ASSIGN_OR_RETURN(ExprPtr right, ParsePower());
    const int deepest = std::max(left->depth, right->depth);
    BinaryOp op = BinaryOp::kMultiply;
    if (token.text == "/") op = BinaryOp::kDivide;
    if (token.text == "//") op = BinaryOp::kFloorDivide;
    if (token.text == "%") op = BinaryOp::kModulo;
    ASSIGN_OR_RETURN(left,
                     Make(token.line, BinaryExpr{op, std::move(left), std::move(right)}, deepest));
  }
  return left;
}

absl::StatusOr<ExprPtr> Parser::ParsePower() {
  ASSIGN_OR_RETURN(ExprPtr base, ParseUnary());
  while (IsOperator("**")) {
    const int line = Take().line;
    ASSIGN_OR_RETURN(ExprPtr exponent, ParseUnary());
    const int deepest = std::max(base->depth, exponent->depth);
    ASSIGN_OR_RETURN(
        base,
        Make(line, BinaryExpr{BinaryOp::kPower, std::move(base), std::move(exponent)}, deepest));
  }
  return base;
}

absl::StatusOr<ExprPtr> Parser::ParseUnary(bool with_filter) {
  ExprPtr operand;
  if (IsOperator("-") || IsOperator("+")) {
    const Nested nested(&nesting_);
    RETURN_IF_ERROR(CheckNesting());
    const Token sign = Take();
    ASSIGN_OR_RETURN(operand, ParseUnary(false));
    const int deepest = operand->depth;
    ASSIGN_OR_RETURN(operand,
                     Make(sign.line, SignExpr{sign.text == "-", std::move(operand)}, deepest));
  } else {
    ASSIGN_OR_RETURN(operand, ParsePrimary());
  }
  ASSIGN_OR_RETURN(operand, ParsePostfix(std::move(operand)));
  if (!with_filter) return operand;
  return ParseFilters(std::move(operand));
}

}  // namespace headgate::jinja
