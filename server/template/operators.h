// Arithmetic and subscripts with Python's rules, bounded by the budget. Any thread.
#pragma once

#include <optional>
#include <string_view>

#include "absl/status/statusor.h"
#include "server/template/value.h"

namespace headgate::jinja {

enum class BinaryOp : uint8_t {
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kFloorDivide,
  kModulo,
  kPower
};

// INVALID_ARGUMENT for types that do not fit, division by zero and results beyond int64.
absl::StatusOr<Value> Arithmetic(Budget& budget, BinaryOp op, const Value& left,
                                 const Value& right);
absl::StatusOr<Value> Negate(const Value& value);
absl::StatusOr<Value> ConcatenateStrings(Budget& budget, const Value& left, const Value& right);

// object.name: methods and fields of the object first, then its item of that name.
absl::StatusOr<Value> GetAttribute(Budget& budget, const Value& object, std::string_view name);
// object[key]: items first, then methods and fields. Undefined when there is neither.
absl::StatusOr<Value> GetItem(Budget& budget, const Value& object, const Value& key);
// object[start:stop:step]; an absent bound is None.
absl::StatusOr<Value> GetSlice(Budget& budget, const Value& object, const Value& start,
                               const Value& stop, const Value& step);

}  // namespace headgate::jinja
