#include "server/template/call_args.h"

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace headgate::jinja {

absl::StatusOr<BoundArgs> Bind(std::string_view callee,
                               std::initializer_list<std::string_view> params, size_t required,
                               const CallArgs& args) {
  if (args.positional.size() > params.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat(std::string(callee), "() takes at most ", params.size(), " arguments"));
  }
  BoundArgs bound(params.size());
  std::copy(args.positional.begin(), args.positional.end(), bound.begin());
  for (const auto& [name, value] : args.named) {
    const auto found = std::find(params.begin(), params.end(), name);
    if (found == params.end()) {
      return absl::InvalidArgumentError(
          absl::StrCat(std::string(callee), "() got an unexpected keyword argument '", name, "'"));
    }
    std::optional<Value>& place = bound[static_cast<size_t>(found - params.begin())];
    if (place.has_value()) {
      return absl::InvalidArgumentError(
          absl::StrCat(std::string(callee), "() got multiple values for argument '", name, "'"));
    }
    place = value;
  }
  for (size_t i = 0; i < required; ++i) {
    if (!bound[i].has_value()) {
      return absl::InvalidArgumentError(absl::StrCat(std::string(callee),
                                                     "() missing required argument '",
                                                     std::string(params.begin()[i]), "'"));
    }
  }
  return bound;
}

absl::StatusOr<int64_t> IntArg(const std::optional<Value>& arg, int64_t absent) {
  if (!arg.has_value() || arg->IsNone()) return absent;
  if (arg->IsIntegral()) return arg->integer();
  return absl::InvalidArgumentError(
      absl::StrCat("'", arg->TypeName(), "' object cannot be interpreted as an integer"));
}

bool BoolArg(const std::optional<Value>& arg, bool absent) {
  return arg.has_value() ? Truthy(*arg) : absent;
}

absl::StatusOr<Text> TextArg(const std::optional<Value>& arg, std::string_view absent) {
  if (!arg.has_value() || arg->IsNone()) return Text(std::string(absent), true);
  if (arg->IsString()) return arg->text();
  return absl::InvalidArgumentError(absl::StrCat("must be a string, not '", arg->TypeName(), "'"));
}

}  // namespace headgate::jinja
