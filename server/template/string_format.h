// printf-style % and str.format(), as far as templates use them. Any thread.
#pragma once

#include "absl/status/statusor.h"
#include "server/template/call_args.h"

namespace headgate::jinja {

// format % values, where values is one value or a tuple: %s %r %d %i %f %.Nf %x and %%, with width.
// INVALID_ARGUMENT for other directives and for a wrong number of values.
absl::StatusOr<Value> PercentFormat(Budget& budget, const Text& format, const Value& values);

// format.format(...): {} {0} {name} {{ }}; no format specs, no attribute access.
absl::StatusOr<Value> BraceFormat(Budget& budget, const Text& format, const CallArgs& args);

}  // namespace headgate::jinja
