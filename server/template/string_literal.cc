#include <cstdint>
#include <string>

#include "base/utf8.h"
#include "server/template/lexer.h"

namespace headgate::jinja {
namespace {

int DigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return 99;
}

// Reads up to `digits_max` digits of `base` at *at; returns how many there were.
size_t ReadDigits(std::string_view raw, size_t* at, size_t digits_max, int base, uint32_t* code) {
  size_t count = 0;
  *code = 0;
  while (count < digits_max && *at < raw.size() && DigitValue(raw[*at]) < base) {
    *code = *code * static_cast<uint32_t>(base) + static_cast<uint32_t>(DigitValue(raw[*at]));
    ++*at;
    ++count;
  }
  return count;
}

// The control character of a one-letter escape; 0 when there is none.
char NamedEscape(char c) {
  switch (c) {
    case 'n':
      return '\n';
    case 't':
      return '\t';
    case 'r':
      return '\r';
    case 'a':
      return '\a';
    case 'b':
      return '\b';
    case 'f':
      return '\f';
    case 'v':
      return '\v';
    case '\\':
    case '\'':
    case '"':
      return c;
    default:
      return 0;
  }
}

}  // namespace

absl::StatusOr<std::string> ResolveEscapes(std::string_view raw, int line) {
  std::string out;
  for (size_t at = 0; at < raw.size();) {
    const char c = raw[at++];
    if (c != '\\' || at == raw.size()) {
      out.push_back(c);
      continue;
    }
    const char kind = raw[at++];
    uint32_t code = 0;
    if (kind == '\n') continue;
    if (const char named = NamedEscape(kind); named != 0) {
      out.push_back(named);
    } else if (kind == 'x' || kind == 'u' || kind == 'U') {
      const size_t want = kind == 'x' ? 2 : kind == 'u' ? 4 : 8;
      const bool complete = ReadDigits(raw, &at, want, 16, &code) == want;
      if (!complete || code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) {
        return ErrorAtLine(line, "a \\x, \\u or \\U escape names no character");
      }
      AppendUtf8(code, &out);
    } else if (kind >= '0' && kind <= '7') {
      --at;
      ReadDigits(raw, &at, 3, 8, &code);
      AppendUtf8(code, &out);
    } else if (kind == 'N') {
      return ErrorAtLine(line, "\\N escapes are not supported; write the character itself");
    } else {
      out.push_back('\\');
      out.push_back(kind);
    }
  }
  return out;
}

}  // namespace headgate::jinja
