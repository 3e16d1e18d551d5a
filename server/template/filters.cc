#include "server/template/filters.h"

#include <algorithm>
#include <string>

#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "base/absl_view.h"
#include "base/status_macros.h"
#include "server/template/operators.h"
#include "server/template/text_transform.h"

namespace headgate::jinja {

FilterFunction FindFilter(std::string_view name) {
  for (const auto part : {TextFilters(), SequenceFilters(), SelectionFilters(), NumberFilters()}) {
    const auto found = std::find_if(
        part.begin(), part.end(), [name](const FilterEntry& entry) { return entry.name == name; });
    if (found != part.end()) return found->function;
  }
  return nullptr;
}

absl::StatusOr<Value> GetPath(Budget& budget, const Value& item, const Value& path) {
  if (path.IsNone()) return item;
  if (!path.IsString()) return GetItem(budget, item, path);
  Value current = item;
  for (absl::string_view part : absl::StrSplit(AbslView(path.view()), '.')) {
    RETURN_IF_ERROR(budget.Step());
    const bool digits = !part.empty() && std::all_of(part.begin(), part.end(),
                                                     [](char c) { return c >= '0' && c <= '9'; });
    int64_t index = 0;
    Value key = Value::String(Text(std::string(part), path.trusted()));
    if (digits && absl::SimpleAtoi(part, &index)) key = Value::Int(index, true);
    ASSIGN_OR_RETURN(current, GetItem(budget, current, key));
  }
  return current;
}

Value IgnoreCase(const Value& value) {
  return value.IsString() ? Value::String(Lower(value.text())) : value;
}

}  // namespace headgate::jinja
