// Conversions between fp32, bf16 and fp16, to nearest with ties to even. Stateless.
#pragma once

#include <bit>
#include <cstdint>

namespace headgate {

inline float BitsToFloat(uint32_t bits) { return std::bit_cast<float>(bits); }
inline uint32_t FloatToBits(float value) { return std::bit_cast<uint32_t>(value); }

inline float Bf16ToFloat(uint16_t value) { return BitsToFloat(static_cast<uint32_t>(value) << 16); }

// A NaN stays a (quiet) NaN.
inline uint16_t FloatToBf16(float value) {
  const uint32_t bits = FloatToBits(value);
  if (value != value) return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7FFF + (bits >> 16 & 1)) >> 16);
}

inline float F16ToFloat(uint16_t value) {
  const uint32_t sign = static_cast<uint32_t>(value & 0x8000) << 16;
  const uint32_t exponent = value >> 10 & 31;
  const uint32_t fraction = value & 0x3FF;
  if (exponent == 0) {  // zero or subnormal: fraction * 2^-24
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return BitsToFloat(FloatToBits(magnitude) | sign);
  }
  if (exponent == 31) return BitsToFloat(sign | 0x7F800000u | fraction << 13);
  return BitsToFloat(sign | (exponent + 112) << 23 | fraction << 13);
}

// Values beyond fp16 become infinite.
inline uint16_t FloatToF16(float value) {
  const uint32_t bits = FloatToBits(value);
  const uint16_t sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
  const uint32_t magnitude = bits & 0x7FFFFFFFu;
  if (magnitude > 0x7F800000u) return static_cast<uint16_t>(sign | 0x7E00);
  if (magnitude >= 0x477FF000u) return static_cast<uint16_t>(sign | 0x7C00);  // >= 65520
  if (magnitude < 0x38800000u) {  // below 2^-14: adding 0.5 leaves multiples of 2^-24 at the end
    const float shifted = BitsToFloat(magnitude) + 0.5f;
    return static_cast<uint16_t>(sign | (FloatToBits(shifted) - 0x3F000000u));
  }
  const uint32_t rounded = magnitude + 0xFFF + (magnitude >> 13 & 1);
  return static_cast<uint16_t>(sign | ((rounded >> 13) - (112u << 10)));
}

}  // namespace headgate
