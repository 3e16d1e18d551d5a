#include "server/tokenizer/byte_alphabet.h"

#include <array>

namespace headgate {
namespace {

// Printable Latin-1 characters stand for themselves; the others, in order, for U+0100 and up.
constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr int kCharacters = 0x100 + 68;  // 188 bytes stand for themselves, 68 do not

struct Alphabet {
  std::array<std::array<char, 2>, 256> text{};
  std::array<uint8_t, 256> size{};
  std::array<int16_t, kCharacters> byte_of{};  // code point -> byte, -1 = none
};

constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet;
  for (int16_t& byte : alphabet.byte_of) byte = -1;
  int next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    const int code = StandsForItself(byte) ? byte : next++;
    alphabet.byte_of[code] = static_cast<int16_t>(byte);
    if (code < 0x80) {
      alphabet.text[byte] = {static_cast<char>(code), 0};
      alphabet.size[byte] = 1;
    } else {
      alphabet.text[byte] = {static_cast<char>(0xC0 | code >> 6),
                             static_cast<char>(0x80 | (code & 0x3F))};
      alphabet.size[byte] = 2;
    }
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string_view ByteCharacter(uint8_t byte) {
  return {kAlphabet.text[byte].data(), kAlphabet.size[byte]};
}

std::string ToByteAlphabet(std::string_view bytes) {
  std::string text;
  text.reserve(bytes.size() + bytes.size() / 2);
  for (const char c : bytes) text.append(ByteCharacter(static_cast<uint8_t>(c)));
  return text;
}

std::optional<std::string> FromByteAlphabet(std::string_view text) {
  std::string bytes;
  bytes.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    int code = static_cast<uint8_t>(text[i]);
    if (code >= 0x80) {
      if (code < 0xC0 || code >= 0xE0 || i + 1 >= text.size()) return std::nullopt;
      code = (code & 0x1F) << 6 | (static_cast<uint8_t>(text[++i]) & 0x3F);
    }
    if (code >= kCharacters || kAlphabet.byte_of[code] < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(kAlphabet.byte_of[code]));
  }
  return bytes;
}

}  // namespace headgate
