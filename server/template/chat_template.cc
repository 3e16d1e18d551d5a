#include "server/template/chat_template.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/ast.h"
#include "server/template/budget.h"
#include "server/template/evaluator.h"
#include "server/template/json_text.h"
#include "server/template/lexer.h"
#include "server/template/parser.h"

namespace headgate {

struct ChatTemplate::Parsed {
  jinja::Body body;
  TemplateLimits limits;
};

absl::StatusOr<ChatTemplate> ChatTemplate::Parse(std::string_view source,
                                                 const TemplateLimits& limits) {
  if (source.size() > limits.template_bytes_max) {
    return absl::ResourceExhaustedError(absl::StrCat(
        "the chat template has ", source.size(), " bytes, more than ", limits.template_bytes_max));
  }
  ASSIGN_OR_RETURN(std::vector<jinja::Token> tokens, jinja::Tokenize(source));
  jinja::Parser parser(std::move(tokens), limits);
  auto parsed = std::make_shared<Parsed>();
  ASSIGN_OR_RETURN(parsed->body, parser.ParseTemplate());
  parsed->limits = limits;
  return ChatTemplate(std::move(parsed));
}

absl::StatusOr<std::vector<RenderedPiece>> ChatTemplate::Render(
    const nlohmann::ordered_json& context, const Clock& clock,
    std::span<const std::string_view> trusted_keys) const {
  if (!context.is_object()) {
    return absl::InvalidArgumentError("the context of a chat template must be an object");
  }
  jinja::Budget budget(parsed_->limits);
  std::vector<std::pair<std::string_view, jinja::Value>> variables;
  for (const auto& [key, json] : context.items()) {
    const bool trusted =
        std::find(trusted_keys.begin(), trusted_keys.end(), key) != trusted_keys.end();
    ASSIGN_OR_RETURN(jinja::Value value, jinja::FromJson(budget, json, trusted));
    variables.emplace_back(key, std::move(value));
  }
  jinja::Evaluator evaluator(budget, clock);
  absl::StatusOr<jinja::Text> text = evaluator.Run(parsed_->body, std::move(variables));
  if (!text.ok()) {
    return absl::Status(
        text.status().code(),
        absl::StrCat("chat template line ", evaluator.error_line(), ": ", text.status().message()));
  }
  std::vector<RenderedPiece> pieces;
  size_t begin = 0;
  for (const jinja::Span& span : text->spans()) {
    pieces.push_back({std::string(text->view().substr(begin, span.end - begin)), span.trusted});
    begin = span.end;
  }
  return pieces;
}

std::string JoinPieces(const std::vector<RenderedPiece>& pieces) {
  std::string text;
  for (const RenderedPiece& piece : pieces) text += piece.text;
  return text;
}

}  // namespace headgate
