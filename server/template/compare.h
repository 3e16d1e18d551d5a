// ==, <, `in` with Python's rules. Strings compare by code point, which is UTF-8 byte order.
#pragma once

#include "absl/status/statusor.h"
#include "server/template/value.h"

namespace headgate::jinja {

// == of everything but lists, tuples and dicts, which are equal only to themselves here.
bool ScalarEquals(const Value& left, const Value& right);

absl::StatusOr<bool> Equals(Budget& budget, const Value& left, const Value& right);

// left < right. INVALID_ARGUMENT when Python has no order for the two types.
absl::StatusOr<bool> Less(Budget& budget, const Value& left, const Value& right);

// left <= right; not the negation of right < left when one is NaN.
absl::StatusOr<bool> LessOrEqual(Budget& budget, const Value& left, const Value& right);

// item in container.
absl::StatusOr<bool> Contains(Budget& budget, const Value& container, const Value& item);

// Byte offset of `needle` in `text` at or after `from`; npos when absent. Linear time.
size_t FindText(std::string_view text, std::string_view needle, size_t from = 0);

}  // namespace headgate::jinja
