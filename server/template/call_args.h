// Evaluated arguments of a call, and how they meet a parameter list. One thread.
#pragma once

#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "server/template/value.h"

namespace headgate::jinja {

struct CallArgs {
  std::vector<Value> positional;
  std::vector<std::pair<std::string, Value>> named;
};

// One place per parameter; nullopt = not given.
using BoundArgs = std::vector<std::optional<Value>>;

// INVALID_ARGUMENT for too many, unknown or doubled arguments, and when one of the first `required`
// is missing.
absl::StatusOr<BoundArgs> Bind(std::string_view callee,
                               std::initializer_list<std::string_view> params, size_t required,
                               const CallArgs& args);

// Typed views of a bound argument: its default when not given (or None, for Text and Int).
absl::StatusOr<int64_t> IntArg(const std::optional<Value>& arg, int64_t absent);
bool BoolArg(const std::optional<Value>& arg, bool absent);
// INVALID_ARGUMENT unless a string.
absl::StatusOr<Text> TextArg(const std::optional<Value>& arg, std::string_view absent);

}  // namespace headgate::jinja
