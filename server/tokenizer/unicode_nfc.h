// Unicode Normalization Form C (Unicode Standard Annex 15). Pure.
#pragma once

#include <string>
#include <string_view>

namespace headgate {

// REQUIRES: text is well-formed UTF-8. O(n log n) time, also for long runs of combining marks.
std::string ToNfc(std::string_view text);

}  // namespace headgate
