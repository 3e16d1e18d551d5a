// Seeded random byte strings and texts, for round-trip tests.
#pragma once

#include <cstdint>
#include <random>
#include <string>

#include "base/utf8.h"

namespace headgate {

class RandomText final {
 public:
  explicit RandomText(uint32_t seed) : rng_(seed) {}

  int64_t Below(int64_t bound) {
    return std::uniform_int_distribution<int64_t>(0, bound - 1)(rng_);
  }

  std::string Bytes(int64_t size_max) {
    std::string bytes;
    for (int64_t n = Below(size_max + 1); n > 0; --n)
      bytes.push_back(static_cast<char>(Below(256)));
    return bytes;
  }

  // Well-formed UTF-8 of up to `count_max` characters of any kind.
  std::string Utf8(int64_t count_max) {
    std::string text;
    for (int64_t n = Below(count_max + 1); n > 0; --n) AppendCharacter(&text);
    return text;
  }

 private:
  void AppendCharacter(std::string* text) {
    static constexpr std::string_view kCommon = " \n\t.,'09azAZ_-<|>\r";
    const int64_t kind = Below(8);
    char32_t c = 0;
    if (kind < 4) {
      text->push_back(kCommon[Below(static_cast<int64_t>(kCommon.size()))]);
      return;
    }
    if (kind == 4) c = static_cast<char32_t>(Below(0x80));
    if (kind == 5) c = static_cast<char32_t>(0x80 + Below(0x780));
    if (kind == 6) c = static_cast<char32_t>(0x800 + Below(0xD800 - 0x800));
    if (kind == 7) c = static_cast<char32_t>(0x10000 + Below(0x100000));
    AppendUtf8(c, text);
  }

  std::mt19937 rng_;
};

}  // namespace headgate
