// The alphabet of byte-level BPE (GPT-2, Radford et al. 2019): each of the 256 byte values is
// written as one printable character, so that vocabularies are plain text. Immutable tables.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace headgate {

// The UTF-8 of the character that stands for `byte` (1 or 2 bytes long).
std::string_view ByteCharacter(uint8_t byte);

// `bytes` written in the alphabet.
std::string ToByteAlphabet(std::string_view bytes);

// The bytes that `text` stands for; nullopt when a character is not of the alphabet.
std::optional<std::string> FromByteAlphabet(std::string_view text);

}  // namespace headgate
