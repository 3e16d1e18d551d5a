// UTF-8: validation, code points, and repair of byte streams that arrive in pieces.
// Free functions are pure; Utf8Repair belongs to one thread.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace headgate {

inline constexpr std::string_view kReplacementCharacter = "\xEF\xBF\xBD";  // U+FFFD

// Offset of the first byte that is not part of well-formed UTF-8 (Unicode, table 3-7: no overlong
// forms, no surrogates, nothing above U+10FFFF); npos when `text` is well formed.
size_t FirstInvalidUtf8(std::string_view text);

// Bytes of the well-formed character that begins at text[at]; 0 when none does. REQUIRES: at <
// text.size().
size_t WellFormedUtf8Size(std::string_view text, size_t at);

// Bytes of the character at text[at]. REQUIRES: well-formed text, `at` on a character boundary.
size_t Utf8CharacterSize(std::string_view text, size_t at);

// The code point of the character at text[at]; same requirements.
char32_t Utf8CodePoint(std::string_view text, size_t at);

// REQUIRES: code <= U+10FFFF and no surrogate.
void AppendUtf8(char32_t code, std::string* out);

// Turns an arbitrary byte stream into well-formed UTF-8, as the WHATWG Encoding Standard's UTF-8
// decoder does: each maximal subpart of an ill-formed sequence becomes one U+FFFD, as soon as it is
// known to be ill formed. Never gives out part of a character; holds back at most 3 bytes.
class Utf8Repair final {
 public:
  void Push(std::string_view bytes, std::string* out);

  // End of stream: an unfinished character becomes U+FFFD.
  void Finish(std::string* out);

  size_t pending_bytes() const { return pending_size_; }

 private:
  void PushByte(uint8_t byte, std::string* out);

  std::array<char, 3> pending_{};
  size_t pending_size_ = 0;
  size_t missing_ = 0;    // continuation bytes still to come
  uint8_t lower_ = 0x80;  // range of the next continuation byte
  uint8_t upper_ = 0xBF;
};

}  // namespace headgate
