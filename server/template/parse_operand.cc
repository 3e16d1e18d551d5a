#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/parser.h"

namespace headgate::jinja {
namespace {

int DepthOf(const ExprPtr& expr) { return expr == nullptr ? 0 : expr->depth; }

}  // namespace

absl::StatusOr<ExprPtr> Parser::ParsePrimary() {
  const Token& token = Current();
  const int line = token.line;
  switch (token.kind) {
    case TokenKind::kName: {
      const std::string name = Take().text;
      if (name == "true" || name == "True") return Make(line, LiteralExpr{Value::Bool(true)}, 0);
      if (name == "false" || name == "False") return Make(line, LiteralExpr{Value::Bool(false)}, 0);
      if (name == "none" || name == "None") return Make(line, LiteralExpr{Value(None{})}, 0);
      return Make(line, NameExpr{name}, 0);
    }
    case TokenKind::kString: {
      std::string text;
      while (Current().kind == TokenKind::kString) text += Take().text;
      return Make(line, LiteralExpr{Value::String(Text(std::move(text), true))}, 0);
    }
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return ParseLiteralNumber();
    case TokenKind::kOperator:
      break;
    default:
      return Unexpected();
  }
  if (SkipOperator("(")) {
    ASSIGN_OR_RETURN(ExprPtr inside, ParseTuple(true, true));
    RETURN_IF_ERROR(ExpectOperator(")"));
    return inside;
  }
  if (IsOperator("[")) return ParseList();
  if (IsOperator("{")) return ParseDict();
  return Unexpected();
}

absl::StatusOr<ExprPtr> Parser::ParseLiteralNumber() {
  const Token token = Take();
  if (token.kind == TokenKind::kFloat) {
    const double number = std::strtod(token.text.c_str(), nullptr);
    return Make(token.line, LiteralExpr{Value::Float(number, true)}, 0);
  }
  std::string_view digits = token.text;
  int base = 10;
  if (digits.size() > 2 && digits[0] == '0') {
    const char mark = static_cast<char>(digits[1] | 0x20);
    base = mark == 'x' ? 16 : mark == 'o' ? 8 : mark == 'b' ? 2 : 10;
    if (base != 10) digits.remove_prefix(2);
  }
  const bool leading_zero = base == 10 && digits.front() == '0' &&
                            digits.find_first_not_of('0') != std::string_view::npos;
  int64_t number = 0;
  const auto result = std::from_chars(digits.data(), digits.data() + digits.size(), number, base);
  if (leading_zero || result.ec != std::errc() || result.ptr != digits.data() + digits.size()) {
    return ErrorAtLine(token.line, "not an integer of 64 bits");
  }
  return Make(token.line, LiteralExpr{Value::Int(number, true)}, 0);
}

absl::StatusOr<ExprPtr> Parser::ParsePostfix(ExprPtr operand) {
  for (;;) {
    if (IsOperator(".") || IsOperator("[")) {
      ASSIGN_OR_RETURN(operand, ParseSubscript(std::move(operand)));
    } else if (IsOperator("(")) {
      ASSIGN_OR_RETURN(operand, ParseCall(std::move(operand)));
    } else {
      return operand;
    }
  }
}

absl::StatusOr<ExprPtr> Parser::ParseFilters(ExprPtr operand) {
  for (;;) {
    if (SkipOperator("|")) {
      ASSIGN_OR_RETURN(operand, ParseOneFilter(std::move(operand)));
    } else if (IsName("is")) {
      ASSIGN_OR_RETURN(operand, ParseTest(std::move(operand)));
    } else if (IsOperator("(")) {
      ASSIGN_OR_RETURN(operand, ParseCall(std::move(operand)));
    } else {
      return operand;
    }
  }
}

absl::StatusOr<ExprPtr> Parser::ParseOneFilter(ExprPtr input) {
  const int line = Current().line;
  ASSIGN_OR_RETURN(std::string name, ExpectIdentifier());
  FilterExpr filter;
  int deepest = DepthOf(input);
  filter.function = FindFilter(name);
  if (filter.function == nullptr) {
    unknown_.push_back(ErrorAtLine(line, absl::StrCat("there is no filter '", name, "'")));
  }
  filter.input = std::move(input);
  filter.name = std::move(name);
  if (IsOperator("(")) {
    ASSIGN_OR_RETURN(filter.args, ParseArguments(&deepest));
  }
  return Make(line, std::move(filter), deepest);
}

absl::StatusOr<ExprPtr> Parser::ParseTest(ExprPtr operand) {
  const int line = Take().line;  // "is"
  const bool negated = SkipName("not");
  ASSIGN_OR_RETURN(std::string name, ExpectIdentifier());
  TestExpr test;
  int deepest = operand->depth;
  test.function = FindTest(name);
  if (test.function == nullptr) {
    unknown_.push_back(ErrorAtLine(line, absl::StrCat("there is no test '", name, "'")));
  }
  test.input = std::move(operand);
  test.name = std::move(name);
  const TokenKind kind = Current().kind;
  const bool value_follows =
      kind == TokenKind::kString || kind == TokenKind::kInteger || kind == TokenKind::kFloat ||
      IsOperator("[") || IsOperator("{") ||
      (kind == TokenKind::kName && !IsName("else") && !IsName("or") && !IsName("and"));
  if (IsOperator("(")) {
    ASSIGN_OR_RETURN(test.args, ParseArguments(&deepest));
  } else if (value_follows) {
    if (IsName("is")) return ErrorAtLine(line, "tests cannot be chained with 'is'");
    ASSIGN_OR_RETURN(ExprPtr argument, ParsePrimary());
    ASSIGN_OR_RETURN(argument, ParsePostfix(std::move(argument)));
    deepest = std::max(deepest, argument->depth);
    test.args.positional.push_back(std::move(argument));
  }
  ASSIGN_OR_RETURN(ExprPtr result, Make(line, std::move(test), deepest));
  if (!negated) return result;
  return Make(line, NotExpr{std::move(result)}, deepest + 1);
}

absl::StatusOr<ExprPtr> Parser::ParseSubscript(ExprPtr operand) {
  const int line = Current().line;
  const int deepest = operand->depth;
  if (!SkipOperator(".")) return ParseSubscriptKey(std::move(operand));
  if (Current().kind == TokenKind::kInteger) {
    ASSIGN_OR_RETURN(ExprPtr key, ParseLiteralNumber());
    return Make(line, SubscriptExpr{std::move(operand), std::move(key)}, deepest);
  }
  ASSIGN_OR_RETURN(std::string name, ExpectIdentifier());
  return Make(line, AttributeExpr{std::move(operand), std::move(name)}, deepest);
}

absl::StatusOr<ExprPtr> Parser::ParseSubscriptKey(ExprPtr operand) {
  const int line = Current().line;
  RETURN_IF_ERROR(ExpectOperator("["));
  const auto at_bound_end = [this] { return IsOperator("]") || IsOperator(":"); };
  ExprPtr bounds[3];
  int count = 0;
  bool is_slice = false;
  for (; count < 3; ++count) {
    if (!at_bound_end()) {
      ASSIGN_OR_RETURN(bounds[count], ParseExpression());
    }
    if (!SkipOperator(":")) break;
    is_slice = true;
  }
  RETURN_IF_ERROR(ExpectOperator("]"));
  int deepest = operand->depth;
  for (const ExprPtr& bound : bounds) deepest = std::max(deepest, DepthOf(bound));
  if (is_slice) {
    return Make(line,
                SliceExpr{std::move(operand), std::move(bounds[0]), std::move(bounds[1]),
                          std::move(bounds[2])},
                deepest);
  }
  if (bounds[0] == nullptr) return ErrorAtLine(line, "an empty subscript");
  return Make(line, SubscriptExpr{std::move(operand), std::move(bounds[0])}, deepest);
}

absl::StatusOr<ExprPtr> Parser::ParseCall(ExprPtr callee) {
  const int line = Current().line;
  int deepest = callee->depth;
  ASSIGN_OR_RETURN(Arguments args, ParseArguments(&deepest));
  return Make(line, CallExpr{std::move(callee), std::move(args)}, deepest);
}

absl::StatusOr<Arguments> Parser::ParseArguments(int* deepest) {
  RETURN_IF_ERROR(ExpectOperator("("));
  Arguments args;
  bool first = true;
  while (!IsOperator(")")) {
    if (!first) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator(")")) break;
    }
    first = false;
    RETURN_IF_ERROR(ParseOneArgument(&args, deepest));
  }
  RETURN_IF_ERROR(ExpectOperator(")"));
  return args;
}

absl::Status Parser::ParseOneArgument(Arguments* args, int* deepest) {
  const int line = Current().line;
  const bool is_named = Current().kind == TokenKind::kName && Next().kind == TokenKind::kOperator &&
                        Next().text == "=";
  const bool is_star = IsOperator("*");
  const bool is_double_star = IsOperator("**");
  bool in_order = args->double_star == nullptr;
  if (!is_named && !is_double_star) in_order = in_order && args->star == nullptr;
  if (!is_named && !is_double_star && !is_star) in_order = in_order && args->named.empty();
  if (!in_order) return ErrorAtLine(line, "the arguments of a call are in the wrong order");
  std::string name;
  if (is_star || is_double_star) Take();
  if (is_named) {
    name = Take().text;
    Take();
  }
  ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
  *deepest = std::max(*deepest, value->depth);
  if (is_star) {
    args->star = std::move(value);
  } else if (is_double_star) {
    args->double_star = std::move(value);
  } else if (is_named) {
    args->named.emplace_back(std::move(name), std::move(value));
  } else {
    args->positional.push_back(std::move(value));
  }
  return absl::OkStatus();
}

absl::StatusOr<ExprPtr> Parser::ParseList() {
  const int line = Take().line;
  SequenceExpr list{SequenceKind::kList, {}};
  int deepest = 0;
  while (!IsOperator("]")) {
    if (!list.items.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator("]")) break;
    }
    ASSIGN_OR_RETURN(ExprPtr item, ParseExpression());
    deepest = std::max(deepest, item->depth);
    list.items.push_back(std::move(item));
  }
  RETURN_IF_ERROR(ExpectOperator("]"));
  return Make(line, std::move(list), deepest);
}

absl::StatusOr<ExprPtr> Parser::ParseDict() {
  const int line = Take().line;
  DictExpr dict;
  int deepest = 0;
  while (!IsOperator("}")) {
    if (!dict.entries.empty()) {
      RETURN_IF_ERROR(ExpectOperator(","));
      if (IsOperator("}")) break;
    }
    ASSIGN_OR_RETURN(ExprPtr key, ParseExpression());
    RETURN_IF_ERROR(ExpectOperator(":"));
    ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    deepest = std::max({deepest, key->depth, value->depth});
    dict.entries.emplace_back(std::move(key), std::move(value));
  }
  RETURN_IF_ERROR(ExpectOperator("}"));
  return Make(line, std::move(dict), deepest);
}

bool Parser::IsTupleEnd(std::string_view end_name) const {
  const TokenKind kind = Current().kind;
  return kind == TokenKind::kVariableEnd || kind == TokenKind::kBlockEnd || IsOperator(")") ||
         (!end_name.empty() && IsName(end_name));
}

absl::StatusOr<ExprPtr> Parser::ParseTuple(bool with_conditional, bool parenthesized,
                                           std::string_view end_name) {
  const int line = Current().line;
  SequenceExpr tuple{SequenceKind::kTuple, {}};
  int deepest = 0;
  bool is_tuple = false;
  while (!IsTupleEnd(end_name)) {
    ASSIGN_OR_RETURN(ExprPtr item, ParseExpression(with_conditional));
    deepest = std::max(deepest, item->depth);
    tuple.items.push_back(std::move(item));
    if (!SkipOperator(",")) break;
    is_tuple = true;
  }
  if (!is_tuple && !tuple.items.empty()) return std::move(tuple.items.front());
  if (!is_tuple && !parenthesized) return Unexpected();
  return Make(line, std::move(tuple), deepest);
}

}  // namespace headgate::jinja
