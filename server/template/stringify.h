// str() and repr() of values as Python prints them. Pure; any thread.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "server/template/value.h"

namespace headgate::jinja {

// str(value), as a string value; a string is returned as it is. A container's text is trusted only
// when everything in it is.
absl::StatusOr<Value> ToString(Budget& budget, const Value& value);

// repr() of a float: the shortest digits that read back, exponent from 1e16 and below 1e-4.
std::string FloatRepr(double value);

}  // namespace headgate::jinja
