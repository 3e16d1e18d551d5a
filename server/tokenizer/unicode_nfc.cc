// utf8proc supplies the character data and the composition. Its own canonical ordering is quadratic
// in a run of combining marks, which a request may make as long as it likes, so it is done here.
#include "server/tokenizer/unicode_nfc.h"

#include <utf8proc.h>

#include <algorithm>
#include <array>
#include <vector>

#include "base/check.h"
#include "base/utf8.h"

namespace headgate {
namespace {

int CombiningClass(int32_t c) { return utf8proc_get_property(c)->combining_class; }

std::vector<int32_t> Decompose(std::string_view text) {
  std::vector<int32_t> codes;
  codes.reserve(text.size() + 1);
  std::array<int32_t, 32> parts{};  // a canonical decomposition has at most 4 code points
  for (size_t i = 0; i < text.size(); i += Utf8CharacterSize(text, i)) {
    const auto code = static_cast<int32_t>(Utf8CodePoint(text, i));
    int boundclass = 0;
    const utf8proc_ssize_t count = utf8proc_decompose_char(
        code, parts.data(), parts.size(),
        static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_DECOMPOSE), &boundclass);
    CHECK(count > 0 && count <= static_cast<utf8proc_ssize_t>(parts.size()));
    codes.insert(codes.end(), parts.begin(), parts.begin() + count);
  }
  return codes;
}

void OrderMarks(std::vector<int32_t>* codes) {
  const auto is_mark = [](int32_t c) { return CombiningClass(c) != 0; };
  auto begin = codes->begin();
  while ((begin = std::find_if(begin, codes->end(), is_mark)) != codes->end()) {
    const auto end = std::find_if_not(begin, codes->end(), is_mark);
    std::stable_sort(begin, end,
                     [](int32_t a, int32_t b) { return CombiningClass(a) < CombiningClass(b); });
    begin = end;
  }
}

}  // namespace

std::string ToNfc(std::string_view text) {
  const bool is_ascii =
      std::all_of(text.begin(), text.end(), [](char c) { return static_cast<uint8_t>(c) < 0x80; });
  if (is_ascii) return std::string(text);

  std::vector<int32_t> codes = Decompose(text);
  OrderMarks(&codes);
  const utf8proc_ssize_t count =
      utf8proc_normalize_utf32(codes.data(), static_cast<utf8proc_ssize_t>(codes.size()),
                               static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  CHECK_GE(count, 0);
  std::string composed;
  composed.reserve(text.size());
  for (utf8proc_ssize_t i = 0; i < count; ++i) {
    std::array<uint8_t, 4> bytes{};
    const utf8proc_ssize_t size = utf8proc_encode_char(codes[i], bytes.data());
    composed.append(reinterpret_cast<const char*>(bytes.data()), size);
  }
  return composed;
}

}  // namespace headgate
