#include "server/template/parser.h"

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace headgate::jinja {
namespace {

std::string Describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end of the template";
    case TokenKind::kBlockEnd:
      return "%}";
    case TokenKind::kVariableEnd:
      return "}}";
    case TokenKind::kName:
    case TokenKind::kOperator:
    case TokenKind::kInteger:
    case TokenKind::kFloat:
      return absl::StrCat("'", token.text.substr(0, 40), "'");
    case TokenKind::kString:
      return "a string";
    default:
      return "text";
  }
}

}  // namespace

absl::StatusOr<Body> Parser::ParseTemplate() {
  ASSIGN_OR_RETURN(Body body, ParseBody({}));
  if (!unknown_.empty()) return unknown_.front();
  return body;
}

bool Parser::IsOperator(std::string_view text) const {
  return Current().kind == TokenKind::kOperator && Current().text == text;
}

bool Parser::IsName(std::string_view text) const {
  return Current().kind == TokenKind::kName && Current().text == text;
}

bool Parser::SkipOperator(std::string_view text) {
  if (!IsOperator(text)) return false;
  Take();
  return true;
}

bool Parser::SkipName(std::string_view text) {
  if (!IsName(text)) return false;
  Take();
  return true;
}

absl::Status Parser::ExpectOperator(std::string_view text) {
  if (SkipOperator(text)) return absl::OkStatus();
  return ErrorAtLine(Current().line, absl::StrCat("expected '", std::string(text), "', found ",
                                                  Describe(Current())));
}

absl::Status Parser::ExpectName(std::string_view text) {
  if (SkipName(text)) return absl::OkStatus();
  return ErrorAtLine(Current().line, absl::StrCat("expected '", std::string(text), "', found ",
                                                  Describe(Current())));
}

absl::Status Parser::Expect(TokenKind kind, std::string_view what) {
  if (Current().kind == kind) {
    Take();
    return absl::OkStatus();
  }
  return ErrorAtLine(Current().line,
                     absl::StrCat("expected ", std::string(what), ", found ", Describe(Current())));
}

absl::StatusOr<std::string> Parser::ExpectIdentifier() {
  if (Current().kind == TokenKind::kName) return Take().text;
  return ErrorAtLine(Current().line, absl::StrCat("expected a name, found ", Describe(Current())));
}

absl::Status Parser::Unexpected() const {
  return ErrorAtLine(Current().line, absl::StrCat("unexpected ", Describe(Current())));
}

absl::Status Parser::CheckNesting() const {
  if (nesting_ <= limits_.nesting_max) return absl::OkStatus();
  return ErrorAtLine(Current().line, absl::StrCat("nested deeper than ", limits_.nesting_max));
}

}  // namespace headgate::jinja
