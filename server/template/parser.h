// Tokens into a tree: recursive descent over Jinja2's grammar, bounded in depth. One thread.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/template/ast.h"
#include "server/template/lexer.h"
#include "server/template/limits.h"

namespace headgate::jinja {

class Parser {
 public:
  // REQUIRES: tokens ends with kEnd.
  Parser(std::vector<Token> tokens, const TemplateLimits& limits)
      : tokens_(std::move(tokens)), limits_(limits) {}

  // INVALID_ARGUMENT with a line number when the source is no template of the subset.
  absl::StatusOr<Body> ParseTemplate();

 private:
  using ExprResult = absl::StatusOr<ExprPtr>;
  using StmtResult = absl::StatusOr<std::unique_ptr<const Stmt>>;

  // Counts nesting while it lives.
  class Nested {
   public:
    explicit Nested(int* depth) : depth_(depth) { ++*depth_; }
    ~Nested() { --*depth_; }
    Nested(const Nested&) = delete;
    Nested& operator=(const Nested&) = delete;

   private:
    int* depth_;
  };

  // Tokens (parser.cc).
  const Token& Current() const { return tokens_[at_]; }
  const Token& Next() const { return tokens_[at_ + 1 < tokens_.size() ? at_ + 1 : at_]; }
  Token Take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool IsOperator(std::string_view text) const;
  bool IsName(std::string_view text) const;
  bool SkipOperator(std::string_view text);
  bool SkipName(std::string_view text);
  absl::Status ExpectOperator(std::string_view text);
  absl::Status ExpectName(std::string_view text);
  absl::Status Expect(TokenKind kind, std::string_view what);
  absl::StatusOr<std::string> ExpectIdentifier();
  absl::Status Unexpected() const;
  absl::Status CheckNesting() const;
  template <typename Node>
  ExprResult Make(int line, Node node, int deepest_child);

  // Expressions (parse_expression.cc).
  ExprResult ParseExpression(bool with_conditional = true);
  ExprResult ParseConditional();
  ExprResult ParseOr();
  ExprResult ParseAnd();
  ExprResult ParseNot();
  ExprResult ParseCompare();
  ExprResult ParseSum();
  ExprResult ParseConcat();
  ExprResult ParseProduct();
  ExprResult ParsePower();
  ExprResult ParseUnary(bool with_filter = true);
  bool ReadCompareOp(CompareOp* op);

  // Operands (parse_operand.cc).
  ExprResult ParsePrimary();
  ExprResult ParseLiteralNumber();
  ExprResult ParsePostfix(ExprPtr operand);
  ExprResult ParseFilters(ExprPtr operand);
  ExprResult ParseOneFilter(ExprPtr input);
  ExprResult ParseTest(ExprPtr operand);
  ExprResult ParseSubscript(ExprPtr operand);
  ExprResult ParseSubscriptKey(ExprPtr operand);
  ExprResult ParseCall(ExprPtr callee);
  absl::StatusOr<Arguments> ParseArguments(int* deepest);
  absl::Status ParseOneArgument(Arguments* args, int* deepest);
  ExprResult ParseList();
  ExprResult ParseDict();
  // One expression, or a tuple when commas follow. A tuple ends at a closing tag or bracket, or at
  // the name `end_name`.
  ExprResult ParseTuple(bool with_conditional, bool parenthesized, std::string_view end_name = "");
  bool IsTupleEnd(std::string_view end_name) const;

  // Statements (parse_statement.cc).
  absl::StatusOr<Body> ParseBody(std::initializer_list<std::string_view> end_names);
  absl::StatusOr<Body> ParseBlock(std::initializer_list<std::string_view> end_names);
  absl::StatusOr<Body> ParseWholeBlock(std::string_view end_name);
  StmtResult ParseStatement();
  StmtResult ParseSet(int line);
  StmtResult ParseFor(int line);
  StmtResult ParseIf(int line);
  StmtResult ParseMacro(int line);
  StmtResult ParseCallBlock(int line);
  StmtResult ParseFilterBlock(int line);
  StmtResult ParseWith(int line);
  StmtResult ParseGeneration(int line);
  StmtResult ParseLoopControl(int line, bool is_break);
  absl::StatusOr<Signature> ParseSignature();
  absl::StatusOr<Target> ParseTarget(bool with_field, std::string_view end_name);
  absl::StatusOr<Target> ParseOneTarget(bool with_field);

  const std::vector<Token> tokens_;
  const TemplateLimits limits_;
  size_t at_ = 0;
  int nesting_ = 0;
  int loops_open_ = 0;  // inside the macro or block being parsed
  // Unknown filters and tests met so far; inside an if they are errors only when reached.
  std::vector<absl::Status> unknown_;
};

template <typename Node>
Parser::ExprResult Parser::Make(int line, Node node, int deepest_child) {
  if (deepest_child >= 2 * limits_.nesting_max) {
    return ErrorAtLine(line, "an expression is too long or too deeply nested");
  }
  auto expr = std::make_unique<Expr>();
  expr->line = line;
  expr->depth = deepest_child + 1;
  expr->node = std::move(node);
  return ExprPtr(std::move(expr));
}

}  // namespace headgate::jinja
