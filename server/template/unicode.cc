#include "server/template/unicode.h"

#include <algorithm>

#include "base/utf8.h"
#include "server/template/unicode_tables.h"

namespace headgate::jinja {
namespace {

bool IsContinuation(unsigned char byte) { return (byte & 0xC0) == 0x80; }

const CaseRange* FindRange(const CaseRange* begin, size_t count, uint32_t code) {
  const CaseRange* end = begin + count;
  const CaseRange* found = std::upper_bound(
      begin, end, code, [](uint32_t value, const CaseRange& row) { return value < row.first; });
  // Two interleaved ranges with stride 2 may overlap: look at the two rows before the bound.
  for (int back = 0; back < 2 && found != begin; ++back) {
    --found;
    if (code <= found->last && (code - found->first) % found->stride == 0) return found;
  }
  return nullptr;
}

const SpecialCase* FindSpecial(const SpecialCase* begin, size_t count, uint32_t code) {
  const SpecialCase* end = begin + count;
  const SpecialCase* found = std::lower_bound(
      begin, end, code, [](const SpecialCase& row, uint32_t value) { return row.code < value; });
  return found != end && found->code == code ? found : nullptr;
}

void AppendMapped(uint32_t code, const CaseRange* range, const SpecialCase* special,
                  std::string* out) {
  if (special != nullptr) {
    for (uint32_t mapped : special->mapped) {
      if (mapped != 0) AppendUtf8(mapped, out);
    }
    return;
  }
  AppendUtf8(range == nullptr ? code : code + static_cast<uint32_t>(range->delta), out);
}

}  // namespace

CodePoint DecodeAt(std::string_view text, size_t at) {
  const size_t length = WellFormedUtf8Size(text, at);
  if (length == 0) return {0xFFFD, 1, false};
  return {Utf8CodePoint(text, at), length, true};
}

size_t CountCodePoints(std::string_view text) {
  size_t count = 0;
  for (size_t at = 0; at < text.size(); at += DecodeAt(text, at).length) ++count;
  return count;
}

size_t ByteOffset(std::string_view text, size_t index) {
  size_t at = 0;
  for (; index > 0 && at < text.size(); --index) at += DecodeAt(text, at).length;
  return at;
}

bool IsSpace(uint32_t code) {
  if (code < 0x80) return (code >= 9 && code <= 13) || (code >= 28 && code <= 32);
  return code == 0x85 || code == 0xA0 || code == 0x1680 || (code >= 0x2000 && code <= 0x200A) ||
         code == 0x2028 || code == 0x2029 || code == 0x202F || code == 0x205F || code == 0x3000;
}

size_t LeadingSpace(std::string_view text) {
  size_t at = 0;
  while (at < text.size()) {
    const CodePoint point = DecodeAt(text, at);
    if (!IsSpace(point.code)) break;
    at += point.length;
  }
  return at;
}

size_t TrailingSpace(std::string_view text) {
  size_t end = text.size();
  while (end > 0) {
    size_t begin = end - 1;
    while (begin > 0 && end - begin < 4 && IsContinuation(static_cast<unsigned char>(text[begin])))
      --begin;
    const CodePoint point = DecodeAt(text, begin);
    if (begin + point.length != end || !IsSpace(point.code)) break;
    end = begin;
  }
  return text.size() - end;
}

void AppendUpper(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code >= 'a' && code <= 'z' ? code - 32 : code));
    return;
  }
  AppendMapped(code, FindRange(kUpperRanges, kUpperRangesCount, code),
               FindSpecial(kUpperSpecial, kUpperSpecialCount, code), out);
}

void AppendLower(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code >= 'A' && code <= 'Z' ? code + 32 : code));
    return;
  }
  AppendMapped(code, FindRange(kLowerRanges, kLowerRangesCount, code),
               FindSpecial(kLowerSpecial, kLowerSpecialCount, code), out);
}

bool IsCased(uint32_t code) {
  if (code < 0x80) return (code >= 'a' && code <= 'z') || (code >= 'A' && code <= 'Z');
  return FindRange(kUpperRanges, kUpperRangesCount, code) != nullptr ||
         FindRange(kLowerRanges, kLowerRangesCount, code) != nullptr ||
         FindSpecial(kUpperSpecial, kUpperSpecialCount, code) != nullptr;
}

bool IsPrintable(uint32_t code) {
  const CodeRange* end = kUnprintable + kUnprintableCount;
  const CodeRange* found =
      std::upper_bound(kUnprintable, end, code,
                       [](uint32_t value, const CodeRange& row) { return value < row.first; });
  return found == kUnprintable || (found - 1)->last < code;
}

}  // namespace headgate::jinja
