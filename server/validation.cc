#include "server/validation.h"

#include <google/protobuf/descriptor.h>
#include <google/protobuf/reflection.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/utf8.h"

namespace headgate {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

constexpr NumericRule kNumericRules[] = {
    {.field = "headgate.v1.Sampling.temperature", .lo = 0.0, .hi = 100.0},
    {.field = "headgate.v1.Sampling.top_k", .lo = 0.0, .hi_bound = Bound::kVocab},
    {.field = "headgate.v1.Sampling.top_p", .lo = 0.0, .hi = 1.0, .lo_open = true},
    {.field = "headgate.v1.Sampling.min_p", .lo = 0.0, .hi = 1.0},
    {.field = "headgate.v1.Sampling.repetition_penalty", .lo = 0.0, .hi = 10.0, .lo_open = true},
    {.field = "headgate.v1.Sampling.presence_penalty", .lo = -2.0, .hi = 2.0},
    {.field = "headgate.v1.Sampling.frequency_penalty", .lo = -2.0, .hi = 2.0},
    {.field = "headgate.v1.Sampling.seed", .any = true},
    {.field = "headgate.v1.GenerateRequest.max_tokens",
     .lo = 1.0,
     .hi_bound = Bound::kMaxPositions},
    {.field = "headgate.v1.GenerateRequest.stop_token_ids",
     .lo = 0.0,
     .hi_bound = Bound::kLastToken},
    {.field = "headgate.v1.GenerateRequest.logprobs", .lo = 0.0, .hi = 20.0},
    {.field = "headgate.v1.GenerateRequest.priority", .lo = -100.0, .hi = 100.0},
    {.field = "headgate.v1.TokenIds.ids", .lo = 0.0, .hi_bound = Bound::kLastToken},
};

constexpr TextRule kTextRules[] = {
    {"headgate.v1.ChatMessage.role", 1, 64},       {"headgate.v1.ChatMessage.content", 0, 0},
    {"headgate.v1.GenerateRequest.model", 0, 256}, {"headgate.v1.GenerateRequest.text", 1, 0},
    {"headgate.v1.GenerateRequest.stop", 1, 256},  {"headgate.v1.ScoreRequest.model", 0, 256},
    {"headgate.v1.ScoreRequest.text", 1, 0},       {"headgate.v1.TokenizeRequest.model", 0, 256},
    {"headgate.v1.TokenizeRequest.text", 0, 0},
};

constexpr CountRule kCountRules[] = {
    {"headgate.v1.ChatMessages.messages", 4096},
    {"headgate.v1.GenerateRequest.stop", 16},
    {"headgate.v1.GenerateRequest.stop_token_ids", 64},
    {"headgate.v1.TokenIds.ids", 0},
};

template <typename Rule>
const Rule* Find(std::span<const Rule> rules, std::string_view field) {
  for (const Rule& rule : rules) {
    if (rule.field == field) return &rule;
  }
  return nullptr;
}

absl::Status NoRule(const FieldDescriptor& field) {
  return absl::InternalError(absl::StrCat("server: field '", field.name(), "' has no rule"));
}

struct Walk {
  const ServedModel& model;
  const ServerLimits& limits;
  size_t text_bytes = 0;  // of all prompt texts together
};

absl::Status CheckNumber(const FieldDescriptor& field, const NumericRule& rule, double value,
                         const Walk& walk) {
  if (rule.any) return absl::OkStatus();
  double hi = rule.hi;
  if (rule.hi_bound == Bound::kVocab) hi = static_cast<double>(walk.model.vocab);
  if (rule.hi_bound == Bound::kLastToken) hi = static_cast<double>(walk.model.vocab - 1);
  if (rule.hi_bound == Bound::kMaxPositions) hi = static_cast<double>(walk.model.max_positions);
  const bool above = rule.lo_open ? value > rule.lo : value >= rule.lo;
  if (!(above && value <= hi)) {
    return absl::InvalidArgumentError(absl::StrCat(
        field.name(), ": must be in ", rule.lo_open ? "(" : "[", rule.lo, ", ", hi, "]"));
  }
  return absl::OkStatus();
}

double NumberOf(const Message& message, const FieldDescriptor& field) {
  const Reflection& reflection = *message.GetReflection();
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return reflection.GetInt32(message, &field);
    case FieldDescriptor::CPPTYPE_INT64:
      return static_cast<double>(reflection.GetInt64(message, &field));
    case FieldDescriptor::CPPTYPE_UINT32:
      return reflection.GetUInt32(message, &field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return static_cast<double>(reflection.GetUInt64(message, &field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return double{reflection.GetFloat(message, &field)};
    default:
      return reflection.GetDouble(message, &field);
  }
}

absl::Status CheckCount(const FieldDescriptor& field, int64_t count, const Walk& walk) {
  const CountRule* rule = Find(CountRules(), field.full_name());
  if (rule == nullptr) return NoRule(field);
  const int64_t count_max = rule->count_max > 0 ? rule->count_max : walk.model.max_positions;
  if (!(count <= count_max)) {
    return absl::InvalidArgumentError(
        absl::StrCat(field.name(), ": at most ", count_max, " entries"));
  }
  return absl::OkStatus();
}

absl::Status CheckNumeric(const Message& message, const FieldDescriptor& field, const Walk& walk) {
  const NumericRule* rule = Find(NumericRules(), field.full_name());
  if (rule == nullptr) return NoRule(field);
  const Reflection& reflection = *message.GetReflection();
  if (!field.is_repeated()) {
    if (field.has_presence() && !reflection.HasField(message, &field)) return absl::OkStatus();
    return CheckNumber(field, *rule, NumberOf(message, field), walk);
  }
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_INT32) return NoRule(field);
  for (int32_t value : reflection.GetRepeatedFieldRef<int32_t>(message, &field)) {
    RETURN_IF_ERROR(CheckNumber(field, *rule, double{static_cast<double>(value)}, walk));
  }
  return absl::OkStatus();
}

absl::Status CheckOneText(const FieldDescriptor& field, const TextRule& rule,
                          const std::string& text, Walk& walk) {
  if (rule.bytes_max == 0) walk.text_bytes += text.size();
  const size_t bytes = rule.bytes_max == 0 ? walk.text_bytes : text.size();
  const size_t bytes_max = rule.bytes_max == 0 ? walk.limits.prompt_bytes_max : rule.bytes_max;
  if (!(rule.bytes_min <= text.size() && bytes <= bytes_max)) {
    return absl::InvalidArgumentError(
        absl::StrCat(field.name(), ": must have ", rule.bytes_min, " to ", bytes_max, " bytes"));
  }
  if (FirstInvalidUtf8(text) != std::string_view::npos) {
    return absl::InvalidArgumentError(absl::StrCat(field.name(), ": must be UTF-8"));
  }
  return absl::OkStatus();
}

absl::Status CheckText(const Message& message, const FieldDescriptor& field, Walk& walk) {
  const TextRule* rule = Find(TextRules(), field.full_name());
  if (rule == nullptr) return NoRule(field);
  const Reflection& reflection = *message.GetReflection();
  std::string scratch;
  if (!field.is_repeated()) {
    if (field.has_presence() && !reflection.HasField(message, &field)) return absl::OkStatus();
    return CheckOneText(field, *rule, reflection.GetStringReference(message, &field, &scratch),
                        walk);
  }
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    RETURN_IF_ERROR(CheckOneText(
        field, *rule, reflection.GetRepeatedStringReference(message, &field, i, &scratch), walk));
  }
  return absl::OkStatus();
}

absl::Status CheckMessage(const Message& message, Walk& walk);

absl::Status CheckField(const Message& message, const FieldDescriptor& field, Walk& walk) {
  const Reflection& reflection = *message.GetReflection();
  if (field.is_repeated()) {
    RETURN_IF_ERROR(CheckCount(field, reflection.FieldSize(message, &field), walk));
  }
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return CheckText(message, field, walk);
    case FieldDescriptor::CPPTYPE_MESSAGE: {
      if (!field.is_repeated()) {
        if (!reflection.HasField(message, &field)) return absl::OkStatus();
        return CheckMessage(reflection.GetMessage(message, &field), walk);
      }
      for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
        RETURN_IF_ERROR(CheckMessage(reflection.GetRepeatedMessage(message, &field, i), walk));
      }
      return absl::OkStatus();
    }
    case FieldDescriptor::CPPTYPE_BOOL:
      return absl::OkStatus();
    case FieldDescriptor::CPPTYPE_ENUM:
      return NoRule(field);
    default:
      return CheckNumeric(message, field, walk);
  }
}

absl::Status CheckMessage(const Message& message, Walk& walk) {
  const google::protobuf::Descriptor& descriptor = *message.GetDescriptor();
  for (int i = 0; i < descriptor.field_count(); ++i) {
    RETURN_IF_ERROR(CheckField(message, *descriptor.field(i), walk));
  }
  return absl::OkStatus();
}

}  // namespace

std::span<const NumericRule> NumericRules() { return kNumericRules; }
std::span<const TextRule> TextRules() { return kTextRules; }
std::span<const CountRule> CountRules() { return kCountRules; }

absl::Status Validate(const Message& request, const ServedModel& model,
                      const ServerLimits& limits) {
  Walk walk{model, limits};
  RETURN_IF_ERROR(CheckMessage(request, walk));
  const google::protobuf::Descriptor& descriptor = *request.GetDescriptor();
  for (int i = 0; i < descriptor.real_oneof_decl_count(); ++i) {
    const google::protobuf::OneofDescriptor& oneof = *descriptor.oneof_decl(i);
    if (!request.GetReflection()->HasOneof(request, &oneof)) {
      return absl::InvalidArgumentError(absl::StrCat(oneof.name(), ": must be given"));
    }
  }
  return absl::OkStatus();
}

}  // namespace headgate
