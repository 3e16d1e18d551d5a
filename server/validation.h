// Rules for every field of a public request, by the field's full name. A field without a rule is
// refused, so that a new one cannot be forgotten. Pure functions; any thread. Nothing is allocated
// and nothing is tokenized before a request passed.
#pragma once

#include <google/protobuf/message.h>

#include <span>
#include <string_view>

#include "absl/status/status.h"
#include "server/limits.h"

namespace headgate {

// Where a bound is not a constant.
enum class Bound { kConstant, kVocab, kLastToken, kMaxPositions };

struct NumericRule {
  std::string_view field;  // "headgate.v1.Sampling.top_p"
  double lo = 0.0;
  double hi = 0.0;
  bool lo_open = false;  // value must be above lo
  Bound hi_bound = Bound::kConstant;
  bool any = false;  // every value is fine (seed)
};

struct TextRule {
  std::string_view field;
  size_t bytes_min = 0;
  size_t bytes_max = 0;  // 0 = ServerLimits::prompt_bytes_max
};

struct CountRule {
  std::string_view field;  // repeated
  int64_t count_max = 0;   // 0 = max_positions
};

std::span<const NumericRule> NumericRules();
std::span<const TextRule> TextRules();
std::span<const CountRule> CountRules();

// INVALID_ARGUMENT names the first bad field and what it must be, never its content. INTERNAL when
// a field has no rule.
absl::Status Validate(const google::protobuf::Message& request, const ServedModel& model,
                      const ServerLimits& limits);

}  // namespace headgate
