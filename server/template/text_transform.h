// What filters and string methods do to text, keeping provenance byte by byte. Any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "server/template/value.h"

namespace headgate::jinja {

// Which ends to strip.
enum class Ends : uint8_t { kBoth, kLeft, kRight };

// Strips white space, or any of the characters in `chars`.
Text Strip(const Text& text, Ends ends, const std::optional<Text>& chars);

Text Upper(const Text& text);
Text Lower(const Text& text);
Text Capitalize(const Text& text);
// str.title(): every run of cased characters.
Text TitleMethod(const Text& text);
// Jinja2's title filter: words begin after white space and -({[<.
Text TitleFilter(const Text& text);

// At most `count` replacements; negative = all.
absl::StatusOr<Value> Replace(Budget& budget, const Text& text, const Text& from, const Text& to,
                              int64_t count);

// str.split(separator, splits_max); without a separator at runs of white space. `from_right`:
// rsplit. INVALID_ARGUMENT for an empty separator.
absl::StatusOr<Value> Split(Budget& budget, const Text& text, const std::optional<Text>& separator,
                            int64_t splits_max, bool from_right);

// str.splitlines() without line ends.
std::vector<Text> SplitLines(const Text& text);

// separator.join(items): every item is a string value.
absl::StatusOr<Value> Join(Budget& budget, const Text& separator, const std::vector<Value>& items);

}  // namespace headgate::jinja
