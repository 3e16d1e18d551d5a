// Is a text well-formed UTF-8 (Unicode 15, table 3-7)? Pure function.
#pragma once

#include <cstddef>
#include <string_view>

namespace headgate {

// Length of the longest well-formed prefix, in bytes; text.size() when all of it is well-formed.
size_t WellFormedUtf8Prefix(std::string_view text);

}  // namespace headgate
