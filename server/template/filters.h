// The filters of `x | filter(args)`, by name. Any thread.
#pragma once

#include <span>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/template/call_args.h"

namespace headgate::jinja {

using FilterFunction = absl::StatusOr<Value> (*)(Budget&, const Value& input, const CallArgs&);

// nullptr when there is no filter of that name.
FilterFunction FindFilter(std::string_view name);

struct FilterEntry {
  std::string_view name;
  FilterFunction function;
};

// The parts of the table: trim, replace, indent ...; sort, join, selectattr ...; int, round ...
std::span<const FilterEntry> TextFilters();
std::span<const FilterEntry> SequenceFilters();
std::span<const FilterEntry> SelectionFilters();
std::span<const FilterEntry> NumberFilters();

// item.a.b.0 for a dotted path, or item[n] for an integer path; the item itself for None.
absl::StatusOr<Value> GetPath(Budget& budget, const Value& item, const Value& path);

// The value lowered when it is a string: how filters compare without regard to case.
Value IgnoreCase(const Value& value);

}  // namespace headgate::jinja
