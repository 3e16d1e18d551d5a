// Template source into tokens, with Jinja2's white space rules for trim_blocks = lstrip_blocks =
// true, keep_trailing_newline = false. Pure; any thread.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace headgate::jinja {

enum class TokenKind : uint8_t {
  kData,           // text: literal output
  kBlockBegin,     // {%
  kBlockEnd,       // %}
  kVariableBegin,  // {{
  kVariableEnd,    // }}
  kName,
  kInteger,  // text: digits without '_', with 0x, 0o, 0b prefix
  kFloat,    // text: digits without '_'
  kString,   // text: escapes resolved
  kOperator,
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;
  int line = 1;
};

// INVALID_ARGUMENT with a line number for text that is no template. The last token is kEnd.
absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source);

// "chat template line 3: message", as every error about the source reads.
absl::Status ErrorAtLine(int line, std::string_view message);

// Resolves the escapes of a string literal's inside, as Python's unicode-escape does.
absl::StatusOr<std::string> ResolveEscapes(std::string_view raw, int line);

}  // namespace headgate::jinja
