// Methods of strings, dicts, lists and the loop variable that templates may call. Those that would
// change an object (append, pop, update) do not exist here, as in Jinja2's immutable sandbox.
// Any thread.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "server/template/call_args.h"

namespace headgate::jinja {

bool HasMethod(const Value& self, std::string_view name);

// REQUIRES: HasMethod(self, name).
absl::StatusOr<Value> CallMethod(Budget& budget, const Value& self, std::string_view name,
                                 const CallArgs& args);

using Method = absl::StatusOr<Value> (*)(Budget&, const Value& self, const CallArgs&);

// nullptr when strings have no such method.
Method FindStringMethod(std::string_view name);

}  // namespace headgate::jinja
