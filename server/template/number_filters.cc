#include <cmath>
#include <cstdlib>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/absl_view.h"
#include "base/status_macros.h"
#include "server/template/compare.h"
#include "server/template/filters.h"
#include "server/template/operators.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

constexpr int64_t kDigitsMax = 100;  // of round()

std::string_view Stripped(std::string_view text) {
  text.remove_prefix(LeadingSpace(text));
  text.remove_suffix(TrailingSpace(text));
  return text;
}

// int(text, base) of Python for bases 2 to 36; nullopt for a ValueError.
absl::StatusOr<std::optional<int64_t>> ParseInt(std::string_view text, int64_t base) {
  text = Stripped(text);
  bool negative = false;
  if (!text.empty() && (text.front() == '-' || text.front() == '+')) {
    negative = text.front() == '-';
    text.remove_prefix(1);
  }
  const std::string_view prefix = text.substr(0, 2);
  if ((base == 16 && (prefix == "0x" || prefix == "0X")) ||
      (base == 2 && (prefix == "0b" || prefix == "0B")) ||
      (base == 8 && (prefix == "0o" || prefix == "0O"))) {
    text.remove_prefix(2);
  }
  int64_t result = 0;
  char last = '_';
  for (char c : text) {
    if (c == '_' && last != '_') {
      last = c;
      continue;
    }
    int64_t digit = base;
    if (c >= '0' && c <= '9') digit = c - '0';
    if (c >= 'a' && c <= 'z') digit = c - 'a' + 10;
    if (c >= 'A' && c <= 'Z') digit = c - 'A' + 10;
    if (digit >= base) return std::optional<int64_t>();
    if (__builtin_mul_overflow(result, base, &result) ||
        __builtin_add_overflow(result, digit, &result)) {
      return absl::InvalidArgumentError("int: the number is beyond 64 bits");
    }
    last = c;
  }
  if (last == '_') return std::optional<int64_t>();
  return std::optional<int64_t>(negative ? -result : result);
}

std::optional<double> ParseFloat(const Value& value) {
  if (value.IsNumber()) return value.number();
  double number = 0;
  if (!value.IsString() || !absl::SimpleAtod(AbslView(Stripped(value.view())), &number)) {
    return std::nullopt;
  }
  return number;
}

absl::StatusOr<Value> Int(Budget&, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("int", {"default", "base"}, 0, args));
  ASSIGN_OR_RETURN(const int64_t base, IntArg(bound[1], 10));
  if (!(2 <= base && base <= 36)) return absl::InvalidArgumentError("int: base must be 2 to 36");
  const Value absent = bound[0].value_or(Value::Int(0, true));
  if (input.IsUndefined()) return UndefinedError(input);
  if (input.IsIntegral()) return Value::Int(input.integer(), input.trusted());
  if (input.IsString()) {
    ASSIGN_OR_RETURN(const std::optional<int64_t> number, ParseInt(input.view(), base));
    if (number.has_value()) return Value::Int(*number, input.trusted());
  }
  const std::optional<double> number = ParseFloat(input);
  if (!number.has_value() || !std::isfinite(*number)) return absent;
  if (!(-9.2e18 < *number && *number < 9.2e18)) {
    return absl::InvalidArgumentError("int: the number is beyond 64 bits");
  }
  return Value::Int(static_cast<int64_t>(*number), input.trusted());
}

absl::StatusOr<Value> Float(Budget&, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("float", {"default"}, 0, args));
  if (input.IsUndefined()) return UndefinedError(input);
  const std::optional<double> number = ParseFloat(input);
  if (!number.has_value()) return bound[0].value_or(Value::Float(0.0, true));
  return Value::Float(*number, input.trusted());
}

absl::StatusOr<Value> Abs(Budget&, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("abs", {}, 0, args).status());
  if (!input.IsNumber()) return absl::InvalidArgumentError("abs needs a number");
  if (input.IsFloat()) return Value::Float(std::fabs(input.number()), input.trusted());
  if (input.integer() >= 0) return Value::Int(input.integer(), input.trusted());
  return Negate(input);
}

absl::StatusOr<Value> Round(Budget&, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("round", {"precision", "method"}, 0, args));
  ASSIGN_OR_RETURN(const int64_t precision, IntArg(bound[0], 0));
  ASSIGN_OR_RETURN(const Text method, TextArg(bound[1], "common"));
  if (!input.IsNumber()) return absl::InvalidArgumentError("round needs a number");
  if (!(-kDigitsMax <= precision && precision <= kDigitsMax)) {
    return absl::InvalidArgumentError("round: precision is out of range");
  }
  const double number = input.number();
  const double scale = std::pow(10.0, static_cast<double>(precision));
  if (method.view() == "ceil")
    return Value::Float(std::ceil(number * scale) / scale, input.trusted());
  if (method.view() == "floor")
    return Value::Float(std::floor(number * scale) / scale, input.trusted());
  if (method.view() != "common") {
    return absl::InvalidArgumentError("round: method must be common, ceil or floor");
  }
  if (input.IsIntegral() && precision >= 0) return Value::Int(input.integer(), input.trusted());
  if (!std::isfinite(number)) return input;
  if (precision >= 0) {
    // printf rounds the exact value half to even, as Python does.
    const std::string text = absl::StrFormat("%.*f", static_cast<int>(precision), number);
    return Value::Float(std::strtod(text.c_str(), nullptr), input.trusted());
  }
  const double rounded = std::nearbyint(number * scale) / scale;
  if (input.IsIntegral()) return Value::Int(static_cast<int64_t>(rounded), input.trusted());
  return Value::Float(rounded, input.trusted());
}

absl::StatusOr<Value> Sum(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("sum", {"attribute", "start"}, 0, args));
  Value sum = bound[1].value_or(Value::Int(0, true));
  const Value path = bound[0].value_or(Value(None{}));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  for (const Value& item : items) {
    RETURN_IF_ERROR(budget.Step());
    ASSIGN_OR_RETURN(const Value part, GetPath(budget, item, path));
    ASSIGN_OR_RETURN(sum, Arithmetic(budget, BinaryOp::kAdd, sum, part));
  }
  return sum;
}

template <bool kGreatest>
absl::StatusOr<Value> Extreme(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("min", {"case_sensitive", "attribute"}, 0, args));
  const bool case_sensitive = BoolArg(bound[0], false);
  const Value path = bound[1].value_or(Value(None{}));
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, input));
  if (items.empty()) return Value::Missing("no aggregated item, the sequence is empty");
  size_t best = 0;
  Value best_key;
  for (size_t i = 0; i < items.size(); ++i) {
    ASSIGN_OR_RETURN(Value key, GetPath(budget, items[i], path));
    if (key.IsString()) RETURN_IF_ERROR(budget.Allocate(key.text().size()));
    if (!case_sensitive) key = IgnoreCase(key);
    bool better = i == 0;
    if (i > 0) {
      ASSIGN_OR_RETURN(better,
                       kGreatest ? Less(budget, best_key, key) : Less(budget, key, best_key));
    }
    if (!better) continue;
    best = i;
    best_key = std::move(key);
  }
  return items[best];
}

constexpr FilterEntry kNumberFilters[] = {
    {"int", Int}, {"float", Float},        {"abs", Abs},           {"round", Round},
    {"sum", Sum}, {"min", Extreme<false>}, {"max", Extreme<true>},
};

}  // namespace

std::span<const FilterEntry> NumberFilters() { return kNumberFilters; }

}  // namespace headgate::jinja
