// The regular expressions of tokenizer.json, run by PCRE2 (JIT, UTF, Unicode properties) under
// match and memory limits. A compiled Regex is immutable and may be shared by threads; a Cursor
// belongs to one thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace headgate {

// The pattern with \s and \S spelled out as Unicode White_Space. tokenizer.json means that set;
// PCRE2's \s also takes U+180E.
std::string SpellOutWhiteSpace(std::string_view pattern);

struct TextSpan {
  size_t begin = 0;
  size_t end = 0;
};

class Regex final {
 public:
  // Walks over the non-empty matches in `text`, left to right. REQUIRES: text is well-formed UTF-8;
  // regex and text outlive the cursor.
  class Cursor final {
   public:
    Cursor(const Regex& regex, std::string_view text);
    Cursor(const Cursor&) = delete;
    Cursor& operator=(const Cursor&) = delete;
    ~Cursor();

    // The next match; nullopt when there is none. RESOURCE_EXHAUSTED when a limit was hit.
    absl::StatusOr<std::optional<TextSpan>> Next();

   private:
    struct Match;
    const Regex& regex_;
    std::string_view text_;
    size_t at_ = 0;
    std::unique_ptr<Match> match_;
  };

  // INVALID_ARGUMENT says what is wrong with the pattern, and where.
  static absl::StatusOr<Regex> Compile(std::string_view pattern);

  // A regex that matches exactly `text`.
  static absl::StatusOr<Regex> Literal(std::string_view text);

  Regex(Regex&&) noexcept;
  Regex& operator=(Regex&&) noexcept;
  ~Regex();

 private:
  struct Code;
  explicit Regex(std::unique_ptr<Code> code);
  static absl::StatusOr<Regex> CompileAs(std::string_view pattern, uint32_t options);

  std::unique_ptr<Code> code_;
};

}  // namespace headgate
