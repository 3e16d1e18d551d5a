// The tests of `x is test`, by name. Any thread.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "server/template/call_args.h"

namespace headgate::jinja {

using TestFunction = absl::StatusOr<bool> (*)(Budget&, const Value&, const CallArgs&);

// nullptr when there is no test of that name.
TestFunction FindTest(std::string_view name);

}  // namespace headgate::jinja
