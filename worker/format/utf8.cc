#include "worker/format/utf8.h"

#include <cstdint>

namespace headgate {
namespace {

// Bytes that a sequence with this first byte has, and the allowed range of the second one (which
// excludes overlong forms, surrogates and what lies above U+10FFFF). 0 = cannot begin a sequence.
struct Lead {
  size_t length;
  uint8_t second_min;
  uint8_t second_max;
};

Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

size_t WellFormedUtf8Prefix(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const Lead lead = LeadOf(static_cast<uint8_t>(text[at]));
    if (lead.length == 0 || lead.length > text.size() - at) return at;
    for (size_t i = 1; i < lead.length; ++i) {
      const auto byte = static_cast<uint8_t>(text[at + i]);
      const uint8_t low = i == 1 ? lead.second_min : 0x80;
      const uint8_t high = i == 1 ? lead.second_max : 0xBF;
      if (byte < low || byte > high) return at;
    }
    at += lead.length;
  }
  return at;
}

}  // namespace headgate
