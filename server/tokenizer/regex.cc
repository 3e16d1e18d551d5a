#include "server/tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/utf8.h"

namespace headgate {
namespace {

// A backtracking step of a sane pre-tokenizer is O(1) per character of one match, so these bound a
// hostile pattern and never a long text.
constexpr uint32_t kMatchLimit = 256u << 20;
constexpr uint32_t kHeapLimitKib = 64u << 10;

constexpr std::string_view kWhiteSpaceSet =
    R"(\t\n\x0b\f\r\x20\x{85}\x{a0}\x{1680})"
    R"(\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

std::string ErrorText(int code) {
  std::array<PCRE2_UCHAR, 256> text{};
  pcre2_get_error_message(code, text.data(), text.size());
  return reinterpret_cast<const char*>(text.data());
}

}  // namespace

struct Regex::Code {
  pcre2_code* code = nullptr;
  pcre2_match_context* limits = nullptr;  // only read while matching

  ~Code() {
    pcre2_match_context_free(limits);
    pcre2_code_free(code);
  }
};

struct Regex::Cursor::Match {
  pcre2_match_data* data = nullptr;
  ~Match() { pcre2_match_data_free(data); }
};

std::string SpellOutWhiteSpace(std::string_view pattern) {
  std::string spelled;
  bool in_class = false;
  for (size_t i = 0; i < pattern.size(); ++i) {
    const char c = pattern[i];
    if (c != '\\' || i + 1 == pattern.size()) {
      if (c == '[') in_class = true;
      if (c == ']') in_class = false;
      spelled.push_back(c);
      continue;
    }
    const char escaped = pattern[++i];
    if (escaped == 's' || (escaped == 'S' && !in_class)) {
      if (!in_class) spelled.append(escaped == 's' ? "[" : "[^");
      spelled.append(kWhiteSpaceSet);
      if (!in_class) spelled.push_back(']');
    } else {
      spelled.push_back(c);
      spelled.push_back(escaped);
    }
  }
  return spelled;
}

Regex::Regex(std::unique_ptr<Code> code) : code_(std::move(code)) {}
Regex::Regex(Regex&&) noexcept = default;
Regex& Regex::operator=(Regex&&) noexcept = default;
Regex::~Regex() = default;

absl::StatusOr<Regex> Regex::CompileAs(std::string_view pattern, uint32_t options) {
  int error = 0;
  PCRE2_SIZE error_at = 0;
  auto owned = std::make_unique<Code>();
  owned->code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(),
                              PCRE2_UTF | options, &error, &error_at, nullptr);
  if (owned->code == nullptr) {
    return absl::InvalidArgumentError(
        absl::StrCat("regex cannot be compiled: ", ErrorText(error), " at byte ", error_at));
  }
  owned->limits = pcre2_match_context_create(nullptr);
  CHECK(owned->limits != nullptr) << "out of memory";
  pcre2_set_match_limit(owned->limits, kMatchLimit);
  pcre2_set_heap_limit(owned->limits, kHeapLimitKib);
  // Without JIT support (or for a pattern that JIT cannot do) pcre2_match interprets.
  pcre2_jit_compile(owned->code, PCRE2_JIT_COMPLETE);
  return Regex(std::move(owned));
}

absl::StatusOr<Regex> Regex::Compile(std::string_view pattern) {
  return CompileAs(SpellOutWhiteSpace(pattern), PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C);
}

absl::StatusOr<Regex> Regex::Literal(std::string_view text) {
  if (text.empty()) return absl::InvalidArgumentError("pattern must not be empty");
  return CompileAs(text, PCRE2_LITERAL);
}

Regex::Cursor::Cursor(const Regex& regex, std::string_view text)
    : regex_(regex), text_(text), match_(std::make_unique<Match>()) {
  match_->data = pcre2_match_data_create(1, nullptr);
  CHECK(match_->data != nullptr) << "out of memory";
}

Regex::Cursor::~Cursor() = default;

absl::StatusOr<std::optional<TextSpan>> Regex::Cursor::Next() {
  const auto subject = reinterpret_cast<PCRE2_SPTR>(text_.data());
  const Code& code = *regex_.code_;
  while (at_ < text_.size()) {
    int found = pcre2_match(code.code, subject, text_.size(), at_, PCRE2_NO_UTF_CHECK, match_->data,
                            code.limits);
    if (found == PCRE2_ERROR_JIT_STACKLIMIT) {
      found = pcre2_match(code.code, subject, text_.size(), at_, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT,
                          match_->data, code.limits);
    }
    if (found == PCRE2_ERROR_NOMATCH) break;
    if (found < 0) {
      return absl::ResourceExhaustedError(
          absl::StrCat("the tokenizer's regex gave up on this text: ", ErrorText(found)));
    }
    const PCRE2_SIZE* ends = pcre2_get_ovector_pointer(match_->data);
    const TextSpan span{ends[0], ends[1]};
    if (span.end > span.begin && span.begin >= at_) {
      at_ = span.end;
      return span;
    }
    at_ = span.end < text_.size() ? span.end + Utf8CharacterSize(text_, span.end) : text_.size();
  }
  at_ = text_.size();
  return std::nullopt;
}

}  // namespace headgate
