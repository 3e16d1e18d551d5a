// Case mappings and unprintable ranges, sorted by code point. Read-only data; any thread.
#pragma once

#include <cstddef>
#include <cstdint>

namespace headgate::jinja {

// Code points first, first + stride, .. last map to themselves + delta.
struct CaseRange {
  uint32_t first;
  uint32_t last;
  uint32_t stride;
  int32_t delta;
};

// A code point that maps to two or three; unused places are 0.
struct SpecialCase {
  uint32_t code;
  uint32_t mapped[3];
};

struct CodeRange {
  uint32_t first;
  uint32_t last;
};

extern const CaseRange kUpperRanges[];
extern const size_t kUpperRangesCount;
extern const CaseRange kLowerRanges[];
extern const size_t kLowerRangesCount;
extern const SpecialCase kUpperSpecial[];
extern const size_t kUpperSpecialCount;
extern const SpecialCase kLowerSpecial[];
extern const size_t kLowerSpecialCount;
extern const CodeRange kUnprintable[];
extern const size_t kUnprintableCount;

}  // namespace headgate::jinja
