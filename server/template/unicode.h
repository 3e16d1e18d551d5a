// Text by code points, with Python's idea of white space, case and printable characters.
// A byte that is not part of a valid sequence counts as one code point. Pure; any thread.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace headgate::jinja {

struct CodePoint {
  uint32_t code = 0;  // U+FFFD for an invalid byte
  size_t length = 1;  // bytes
  bool valid = true;
};

// The code point that begins at byte `at`. REQUIRES: at < text.size().
CodePoint DecodeAt(std::string_view text, size_t at);

size_t CountCodePoints(std::string_view text);

// Byte offset of code point `index`; text.size() when there are fewer.
size_t ByteOffset(std::string_view text, size_t index);

// str.isspace() of one character; also what the template lexer calls white space.
bool IsSpace(uint32_t code);

// Bytes of the white space at the front and at the back of `text`.
size_t LeadingSpace(std::string_view text);
size_t TrailingSpace(std::string_view text);

// str.upper(), str.lower() without the final-sigma rule.
void AppendUpper(uint32_t code, std::string* out);
void AppendLower(uint32_t code, std::string* out);
bool IsCased(uint32_t code);

// str.isprintable() of one character.
bool IsPrintable(uint32_t code);

}  // namespace headgate::jinja
