#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/parser.h"

namespace headgate::jinja {
namespace {

template <typename Node>
std::unique_ptr<const Stmt> MakeStmt(int line, Node node) {
  auto stmt = std::make_unique<Stmt>();
  stmt->line = line;
  stmt->node = std::move(node);
  return stmt;
}

}  // namespace

// Statements up to the tag of one of `end_names` (left as the current token), or to the end of the
// template when there are none.
absl::StatusOr<Body> Parser::ParseBody(std::initializer_list<std::string_view> end_names) {
  const Nested nested(&nesting_);
  RETURN_IF_ERROR(CheckNesting());
  Body body;
  for (;;) {
    const Token& token = Current();
    const int line = token.line;
    switch (token.kind) {
      case TokenKind::kEnd:
        if (end_names.size() == 0) return body;
        return ErrorAtLine(line, absl::StrCat("the template ends inside a block; add {% ",
                                              std::string(*(end_names.end() - 1)), " %}"));
      case TokenKind::kData:
        body.push_back(MakeStmt(line, DataStmt{Value::String(Text(Take().text, true))}));
        break;
      case TokenKind::kVariableBegin: {
        Take();
        ASSIGN_OR_RETURN(ExprPtr value, ParseTuple(true, false));
        RETURN_IF_ERROR(Expect(TokenKind::kVariableEnd, "}}"));
        body.push_back(MakeStmt(line, PrintStmt{std::move(value)}));
        break;
      }
      case TokenKind::kBlockBegin: {
        Take();
        for (std::string_view name : end_names) {
          if (IsName(name)) return body;
        }
        ASSIGN_OR_RETURN(std::unique_ptr<const Stmt> statement, ParseStatement());
        RETURN_IF_ERROR(Expect(TokenKind::kBlockEnd, "%}"));
        body.push_back(std::move(statement));
        break;
      }
      default:
        return Unexpected();
    }
  }
}

// The rest of an opening tag, then its body.
absl::StatusOr<Body> Parser::ParseBlock(std::initializer_list<std::string_view> end_names) {
  SkipOperator(":");
  RETURN_IF_ERROR(Expect(TokenKind::kBlockEnd, "%}"));
  return ParseBody(end_names);
}

// The same, and the name of the closing tag.
absl::StatusOr<Body> Parser::ParseWholeBlock(std::string_view end_name) {
  ASSIGN_OR_RETURN(Body body, ParseBlock({end_name}));
  RETURN_IF_ERROR(ExpectName(end_name));
  return body;
}

Parser::StmtResult Parser::ParseStatement() {
  const int line = Current().line;
  ASSIGN_OR_RETURN(const std::string name, ExpectIdentifier());
  if (name == "set") return ParseSet(line);
  if (name == "for") return ParseFor(line);
  if (name == "if") return ParseIf(line);
  if (name == "macro") return ParseMacro(line);
  if (name == "call") return ParseCallBlock(line);
  if (name == "filter") return ParseFilterBlock(line);
  if (name == "with") return ParseWith(line);
  if (name == "generation") return ParseGeneration(line);
  if (name == "break" || name == "continue") return ParseLoopControl(line, name == "break");
  if (name == "print") {
    ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    return MakeStmt(line, PrintStmt{std::move(value)});
  }
  return ErrorAtLine(line, absl::StrCat("the tag '", name.substr(0, 40), "' is not supported"));
}

Parser::StmtResult Parser::ParseSet(int line) {
  ASSIGN_OR_RETURN(Target target, ParseTarget(true, ""));
  if (SkipOperator("=")) {
    ASSIGN_OR_RETURN(ExprPtr value, ParseTuple(true, false));
    return MakeStmt(line, SetStmt{std::move(target), std::move(value)});
  }
  ExprPtr filter;
  while (SkipOperator("|")) {
    ASSIGN_OR_RETURN(filter, ParseOneFilter(std::move(filter)));
  }
  ASSIGN_OR_RETURN(Body body, ParseWholeBlock("endset"));
  return MakeStmt(line, SetBlockStmt{std::move(target), std::move(filter), std::move(body)});
}

Parser::StmtResult Parser::ParseFor(int line) {
  ForStmt loop;
  ASSIGN_OR_RETURN(loop.target, ParseTarget(false, "in"));
  RETURN_IF_ERROR(ExpectName("in"));
  ASSIGN_OR_RETURN(loop.iterable, ParseTuple(false, false, "recursive"));
  if (SkipName("if")) {
    ASSIGN_OR_RETURN(loop.condition, ParseExpression());
  }
  if (IsName("recursive")) return ErrorAtLine(line, "recursive loops are not supported");
  ++loops_open_;
  ASSIGN_OR_RETURN(loop.body, ParseBlock({"else", "endfor"}));
  --loops_open_;
  if (SkipName("else")) {
    ASSIGN_OR_RETURN(loop.otherwise, ParseBlock({"endfor"}));
  }
  RETURN_IF_ERROR(ExpectName("endfor"));
  return MakeStmt(line, std::move(loop));
}

Parser::StmtResult Parser::ParseIf(int line) {
  const size_t unknown_before = unknown_.size();
  IfStmt statement;
  do {
    ASSIGN_OR_RETURN(ExprPtr condition, ParseTuple(false, false));
    ASSIGN_OR_RETURN(Body body, ParseBlock({"elif", "else", "endif"}));
    statement.branches.emplace_back(std::move(condition), std::move(body));
  } while (SkipName("elif"));
  if (SkipName("else")) {
    ASSIGN_OR_RETURN(statement.otherwise, ParseBlock({"endif"}));
  }
  RETURN_IF_ERROR(ExpectName("endif"));
  unknown_.resize(unknown_before);
  return MakeStmt(line, std::move(statement));
}

absl::StatusOr<Signature> Parser::ParseSignature() {
  Signature signature;
  RETURN_IF_ERROR(ExpectOperator("("));
  while (!IsOperator(")")) {
    if (!signature.names.empty()) RETURN_IF_ERROR(ExpectOperator(","));
    const int line = Current().line;
    ASSIGN_OR_RETURN(std::string name, ExpectIdentifier());
    if (std::find(signature.names.begin(), signature.names.end(), name) != signature.names.end()) {
      return ErrorAtLine(line, absl::StrCat("two parameters are named '", name, "'"));
    }
    signature.names.push_back(std::move(name));
    if (SkipOperator("=")) {
      ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
      signature.defaults.push_back(std::move(value));
    } else if (!signature.defaults.empty()) {
      return ErrorAtLine(line, "a parameter without default follows one with a default");
    }
  }
  RETURN_IF_ERROR(ExpectOperator(")"));
  return signature;
}

Parser::StmtResult Parser::ParseMacro(int line) {
  MacroStmt macro;
  ASSIGN_OR_RETURN(macro.name, ExpectIdentifier());
  ASSIGN_OR_RETURN(macro.signature, ParseSignature());
  const int loops_outside = std::exchange(loops_open_, 0);
  ASSIGN_OR_RETURN(macro.body, ParseWholeBlock("endmacro"));
  loops_open_ = loops_outside;
  return MakeStmt(line, std::move(macro));
}

Parser::StmtResult Parser::ParseCallBlock(int line) {
  CallBlockStmt block;
  block.caller.name = "caller";
  if (IsOperator("(")) {
    ASSIGN_OR_RETURN(block.caller.signature, ParseSignature());
  }
  ASSIGN_OR_RETURN(block.call, ParseExpression());
  if (!std::holds_alternative<CallExpr>(block.call->node)) {
    return ErrorAtLine(line, "a call block needs a call");
  }
  const int loops_outside = std::exchange(loops_open_, 0);
  ASSIGN_OR_RETURN(block.caller.body, ParseWholeBlock("endcall"));
  loops_open_ = loops_outside;
  return MakeStmt(line, std::move(block));
}

Parser::StmtResult Parser::ParseFilterBlock(int line) {
  ASSIGN_OR_RETURN(ExprPtr filter, ParseOneFilter(nullptr));
  while (SkipOperator("|")) {
    ASSIGN_OR_RETURN(filter, ParseOneFilter(std::move(filter)));
  }
  ASSIGN_OR_RETURN(Body body, ParseWholeBlock("endfilter"));
  return MakeStmt(line, FilterBlockStmt{std::move(filter), std::move(body)});
}

Parser::StmtResult Parser::ParseWith(int line) {
  WithStmt with;
  while (Current().kind != TokenKind::kBlockEnd) {
    if (!with.values.empty()) RETURN_IF_ERROR(ExpectOperator(","));
    ASSIGN_OR_RETURN(Target target, ParseTarget(false, ""));
    RETURN_IF_ERROR(ExpectOperator("="));
    ASSIGN_OR_RETURN(ExprPtr value, ParseExpression());
    with.values.emplace_back(std::move(target), std::move(value));
  }
  ASSIGN_OR_RETURN(with.body, ParseWholeBlock("endwith"));
  return MakeStmt(line, std::move(with));
}

// Hugging Face's mark of what the assistant wrote (for training masks): only its body matters here.
Parser::StmtResult Parser::ParseGeneration(int line) {
  WithStmt with;
  ASSIGN_OR_RETURN(with.body, ParseWholeBlock("endgeneration"));
  return MakeStmt(line, std::move(with));
}

Parser::StmtResult Parser::ParseLoopControl(int line, bool is_break) {
  if (loops_open_ > 0) return MakeStmt(line, LoopControlStmt{is_break});
  return ErrorAtLine(line, is_break ? "break outside of a loop" : "continue outside of a loop");
}

absl::StatusOr<Target> Parser::ParseOneTarget(bool with_field) {
  const Nested nested(&nesting_);
  RETURN_IF_ERROR(CheckNesting());
  if (SkipOperator("(")) {
    ASSIGN_OR_RETURN(Target inside, ParseTarget(with_field, ""));
    RETURN_IF_ERROR(ExpectOperator(")"));
    return inside;
  }
  Target target;
  const int line = Current().line;
  ASSIGN_OR_RETURN(target.name, ExpectIdentifier());
  for (std::string_view constant : {"true", "false", "none", "True", "False", "None"}) {
    if (target.name == constant) return ErrorAtLine(line, "cannot assign to a constant");
  }
  if (with_field && SkipOperator(".")) {
    ASSIGN_OR_RETURN(target.field, ExpectIdentifier());
  }
  return target;
}

absl::StatusOr<Target> Parser::ParseTarget(bool with_field, std::string_view end_name) {
  ASSIGN_OR_RETURN(Target first, ParseOneTarget(with_field));
  if (!IsOperator(",")) return first;
  Target tuple;
  tuple.is_tuple = true;
  tuple.parts.push_back(std::move(first));
  while (SkipOperator(",")) {
    const bool ended = IsTupleEnd(end_name) || IsOperator("=");
    if (ended) break;
    ASSIGN_OR_RETURN(Target part, ParseOneTarget(with_field));
    tuple.parts.push_back(std::move(part));
  }
  return tuple;
}

}  // namespace headgate::jinja
