#include "server/template/lexer.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
bool IsNameStart(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool IsNameChar(char c) { return IsNameStart(c) || IsDigit(c); }

// All line ends become \n; one at the end of the source is dropped.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      out.push_back('\n');
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
    } else {
      out.push_back(source[i]);
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string source) : source_(std::move(source)) {}

  absl::StatusOr<std::vector<Token>> Run() {
    while (at_ < source_.size()) RETURN_IF_ERROR(ReadDataAndTag());
    Emit(TokenKind::kEnd, "");
    return std::move(tokens_);
  }

 private:
  std::string_view Rest() const { return std::string_view(source_).substr(at_); }
  bool Looking(std::string_view what) const { return Rest().substr(0, what.size()) == what; }

  void Emit(TokenKind kind, std::string text) { tokens_.push_back({kind, std::move(text), line_}); }

  void Advance(size_t bytes) {
    const auto begin = source_.begin() + static_cast<ptrdiff_t>(at_);
    line_ += static_cast<int>(std::count(begin, begin + static_cast<ptrdiff_t>(bytes), '\n'));
    at_ += bytes;
    if (bytes > 0) line_starting_ = source_[at_ - 1] == '\n';
  }

  // Literal text up to the next tag, then that tag.
  absl::Status ReadDataAndTag() {
    size_t tag = at_;
    for (;; ++tag) {
      tag = source_.find('{', tag);
      if (tag == std::string::npos || tag + 1 >= source_.size()) {
        tag = source_.size();
        break;
      }
      const char kind = source_[tag + 1];
      if (kind == '{' || kind == '%' || kind == '#') break;
    }
    const std::string_view data = std::string_view(source_).substr(at_, tag - at_);
    if (tag == source_.size()) {
      EmitData(data);
      Advance(data.size());
      return absl::OkStatus();
    }
    const char kind = source_[tag + 1];
    const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
    EmitData(StripBeforeTag(data, sign, kind == '{'));
    Advance(data.size());
    Advance(sign == '-' || sign == '+' ? 3 : 2);
    if (kind == '#') return ReadComment();
    if (kind == '%' && ReadRawBegin()) return ReadRaw();
    Emit(kind == '{' ? TokenKind::kVariableBegin : TokenKind::kBlockBegin, "");
    return ReadExpression(kind == '{');
  }

  void EmitData(std::string_view data) {
    if (!data.empty()) Emit(TokenKind::kData, std::string(data));
  }

  // "{%-" strips all white space before it; a block or comment tag without "+" strips the white
  // space between the line's start and it.
  std::string_view StripBeforeTag(std::string_view data, char sign, bool is_variable) const {
    if (sign == '-') return data.substr(0, data.size() - TrailingSpace(data));
    if (sign == '+' || is_variable) return data;
    const size_t newline = data.rfind('\n');
    const size_t line_begin = newline == std::string_view::npos ? 0 : newline + 1;
    if (line_begin == 0 && !line_starting_) return data;
    const std::string_view last_line = data.substr(line_begin);
    return LeadingSpace(last_line) == last_line.size() ? data.substr(0, line_begin) : data;
  }

  // Consumes an end tag at the current place ("-%}" with the white space after it, "+%}", "%}" with
  // one newline); false when there is none.
  bool ReadTagEnd(std::string_view end, bool trims_newline) {
    size_t skip = 0;
    if (Looking("-") && Rest().substr(1, 2) == end) {
      skip = 3 + LeadingSpace(Rest().substr(3));
    } else if (trims_newline && Looking("+") && Rest().substr(1, 2) == end) {
      skip = 3;
    } else if (Looking(end)) {
      skip = 2;
      if (trims_newline && Rest().substr(2, 1) == "\n") skip = 3;
    } else {
      return false;
    }
    Advance(skip);
    return true;
  }

  absl::Status ReadComment() {
    const int begin_line = line_;
    while (at_ < source_.size()) {
      if (ReadTagEnd("#}", true)) return absl::OkStatus();
      Advance(1);
    }
    return ErrorAtLine(begin_line, "a comment is not closed; add #}");
  }

  bool ReadRawBegin() {
    std::string_view rest = Rest();
    size_t at = LeadingSpace(rest);
    if (rest.substr(at, 3) != "raw") return false;
    at += 3;
    at += LeadingSpace(rest.substr(at));
    if (rest.substr(at, 3) == "-%}") {
      at += 3;
      at += LeadingSpace(rest.substr(at));
    } else if (rest.substr(at, 2) == "%}") {
      at += 2;
    } else {
      return false;
    }
    Advance(at);
    return true;
  }

  // The text up to {% endraw %}, and that tag.
  absl::Status ReadRaw() {
    const int begin_line = line_;
    const size_t begin = at_;
    for (size_t tag = at_; (tag = source_.find("{%", tag)) != std::string::npos; ++tag) {
      const char sign = tag + 2 < source_.size() ? source_[tag + 2] : '\0';
      size_t inside = tag + 2 + (sign == '-' || sign == '+' ? 1 : 0);
      inside += LeadingSpace(std::string_view(source_).substr(inside));
      if (source_.compare(inside, 6, "endraw") != 0) continue;
      inside += 6;
      inside += LeadingSpace(std::string_view(source_).substr(inside));
      const std::string_view end = std::string_view(source_).substr(inside, 3);
      if (end.substr(0, 2) != "%}" && end != "-%}" && end != "+%}") continue;
      EmitData(StripBeforeTag(std::string_view(source_).substr(begin, tag - begin), sign, false));
      Advance(inside - at_);
      ReadTagEnd("%}", true);
      return absl::OkStatus();
    }
    return ErrorAtLine(begin_line, "a raw block is not closed; add {% endraw %}");
  }

  absl::Status ReadExpression(bool is_variable) {
    const int begin_line = line_;
    std::string open;  // brackets that wait for their partner
    while (at_ < source_.size()) {
      if (open.empty() && ReadTagEnd(is_variable ? "}}" : "%}", !is_variable)) {
        Emit(is_variable ? TokenKind::kVariableEnd : TokenKind::kBlockEnd, "");
        return absl::OkStatus();
      }
      const size_t space = LeadingSpace(Rest());
      if (space > 0) {
        Advance(space);
        continue;
      }
      RETURN_IF_ERROR(ReadToken(&open));
    }
    return ErrorAtLine(begin_line, is_variable ? "{{ is not closed" : "{% is not closed");
  }

  absl::Status ReadToken(std::string* open) {
    const char c = source_[at_];
    if (IsDigit(c)) return ReadNumber();
    if (IsNameStart(c)) {
      size_t length = 1;
      while (length < Rest().size() && IsNameChar(Rest()[length])) ++length;
      Emit(TokenKind::kName, std::string(Rest().substr(0, length)));
      Advance(length);
      return absl::OkStatus();
    }
    if (c == '"' || c == '\'') return ReadString(c);
    return ReadOperator(open);
  }

  // Digits with single underscores between them, starting at `from` of the rest.
  size_t DigitRun(size_t from, bool (*is_digit)(char)) const {
    const std::string_view rest = Rest();
    size_t at = from;
    while (at < rest.size() &&
           (is_digit(rest[at]) || (rest[at] == '_' && at > from && at + 1 < rest.size() &&
                                   is_digit(rest[at + 1]) && rest[at - 1] != '_'))) {
      ++at;
    }
    return at - from;
  }

  absl::Status ReadNumber() {
    const std::string_view rest = Rest();
    const char mark = rest.size() > 2 && rest[0] == '0' ? static_cast<char>(rest[1] | 0x20) : '\0';
    size_t length = 0;
    TokenKind kind = TokenKind::kInteger;
    if (mark == 'x' || mark == 'o' || mark == 'b') {
      length = 2 + DigitRun(2, [](char c) {
                 return IsDigit(c) || ((c | 0x20) >= 'a' && (c | 0x20) <= 'f');
               });
    } else {
      length = DigitRun(0, IsDigit);
      const bool after_dot = at_ > 0 && source_[at_ - 1] == '.';  // a.0.1 is two subscripts
      const size_t fraction = rest.substr(length, 1) == "." ? DigitRun(length + 1, IsDigit) : 0;
      if (fraction > 0 && !after_dot) {
        length += 1 + fraction;
        kind = TokenKind::kFloat;
      }
      size_t exponent = length;
      if (!after_dot && exponent < rest.size() && (rest[exponent] | 0x20) == 'e') {
        ++exponent;
        if (exponent < rest.size() && (rest[exponent] == '+' || rest[exponent] == '-')) ++exponent;
        const size_t digits = DigitRun(exponent, IsDigit);
        if (digits > 0) {
          length = exponent + digits;
          kind = TokenKind::kFloat;
        }
      }
    }
    std::string digits(rest.substr(0, length));
    digits.erase(std::remove(digits.begin(), digits.end(), '_'), digits.end());
    Emit(kind, std::move(digits));
    Advance(length);
    return absl::OkStatus();
  }

  absl::Status ReadString(char quote) {
    const std::string_view rest = Rest();
    size_t end = 1;
    while (end < rest.size() && rest[end] != quote) end += rest[end] == '\\' ? 2 : 1;
    if (end >= rest.size()) return ErrorAtLine(line_, "a string is not closed");
    ASSIGN_OR_RETURN(std::string text, ResolveEscapes(rest.substr(1, end - 1), line_));
    Emit(TokenKind::kString, std::move(text));
    Advance(end + 1);
    return absl::OkStatus();
  }

  absl::Status ReadOperator(std::string* open) {
    constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
    const std::string_view two = Rest().substr(0, 2);
    if (std::find(std::begin(kLong), std::end(kLong), two) != std::end(kLong)) {
      Emit(TokenKind::kOperator, std::string(two));
      Advance(2);
      return absl::OkStatus();
    }
    const char c = source_[at_];
    if (kShort.find(c) == std::string_view::npos) {
      return ErrorAtLine(line_, "unexpected character in an expression");
    }
    if (c == '(' || c == '[' || c == '{') open->push_back(c == '(' ? ')' : c == '[' ? ']' : '}');
    if (c == ')' || c == ']' || c == '}') {
      if (open->empty() || open->back() != c) {
        return ErrorAtLine(line_, absl::StrCat("unexpected '", std::string(1, c), "'"));
      }
      open->pop_back();
    }
    Emit(TokenKind::kOperator, std::string(1, c));
    Advance(1);
    return absl::OkStatus();
  }

  const std::string source_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;  // the last token ended with a newline
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Tokenize(std::string_view source) {
  return Lexer(NormalizeNewlines(source)).Run();
}

absl::Status ErrorAtLine(int line, std::string_view message) {
  return absl::InvalidArgumentError(
      absl::StrCat("chat template line ", line, ": ", std::string(message)));
}

}  // namespace headgate::jinja
