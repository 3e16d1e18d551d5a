// Debian's Abseil is built with a string_view of its own; these cross over. Both only borrow.
#pragma once

#include <string_view>

#include "absl/strings/string_view.h"

namespace headgate {

inline absl::string_view AbslView(std::string_view text) { return {text.data(), text.size()}; }
inline std::string_view StdView(absl::string_view text) { return {text.data(), text.size()}; }

}  // namespace headgate
