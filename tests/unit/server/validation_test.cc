// Every numeric field of the public requests has a rule, and every rule refuses what it must. The
// list of fields comes from the proto descriptor: a new one without a rule fails here.
#include "server/validation.h"

#include <gmock/gmock.h>
#include <google/protobuf/descriptor.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "headgate/v1/inference.pb.h"

namespace headgate {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using ::testing::HasSubstr;
using ::testing::Not;

const ServedModel kModel = {.name = "m", .max_positions = 2048, .vocab = 1000, .end_tokens = {}};

void CollectFields(const Descriptor& descriptor, std::set<const FieldDescriptor*>& fields) {
  for (int i = 0; i < descriptor.field_count(); ++i) {
    const FieldDescriptor* field = descriptor.field(i);
    if (!fields.insert(field).second) continue;
    if (field->message_type() != nullptr) CollectFields(*field->message_type(), fields);
  }
}

std::set<const FieldDescriptor*> RequestFields() {
  std::set<const FieldDescriptor*> fields;
  const auto* file = v1::GenerateRequest::descriptor()->file();
  const auto* service = file->FindServiceByName("Inference");
  for (int i = 0; i < service->method_count(); ++i) {
    CollectFields(*service->method(i)->input_type(), fields);
  }
  return fields;
}

bool IsNumeric(const FieldDescriptor& field) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
    case FieldDescriptor::CPPTYPE_MESSAGE:
    case FieldDescriptor::CPPTYPE_BOOL:
      return false;
    default:
      return true;
  }
}

template <typename Rules>
auto FindRule(const Rules& rules, const std::string& name) -> decltype(&rules[0]) {
  for (const auto& rule : rules) {
    if (rule.field == name) return &rule;
  }
  return nullptr;
}

TEST(Validation, EveryFieldHasARule) {
  for (const FieldDescriptor* field : RequestFields()) {
    const std::string& name = field->full_name();
    if (IsNumeric(*field)) {
      EXPECT_NE(FindRule(NumericRules(), name), nullptr) << name;
    }
    if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      EXPECT_NE(FindRule(TextRules(), name), nullptr) << name;
    }
    if (field->is_repeated()) {
      EXPECT_NE(FindRule(CountRules(), name), nullptr) << name;
    }
  }
}

TEST(Validation, EveryRuleHasAField) {
  std::set<std::string> names;
  for (const FieldDescriptor* field : RequestFields()) names.insert(field->full_name());
  for (const NumericRule& rule : NumericRules())
    EXPECT_EQ(names.count(std::string(rule.field)), 1u);
  for (const TextRule& rule : TextRules()) EXPECT_EQ(names.count(std::string(rule.field)), 1u);
  for (const CountRule& rule : CountRules()) EXPECT_EQ(names.count(std::string(rule.field)), 1u);
}

// A valid request in which `field` has `value`; false when the type cannot hold it.
bool SetNumber(v1::GenerateRequest& request, const FieldDescriptor& field, double value) {
  request.Clear();
  request.set_text("x");
  Message* owner = &request;
  if (field.containing_type() == v1::Sampling::descriptor()) owner = request.mutable_sampling();
  if (field.containing_type() == v1::TokenIds::descriptor()) owner = request.mutable_tokens();
  const auto* reflection = owner->GetReflection();
  const bool real = field.cpp_type() == FieldDescriptor::CPPTYPE_FLOAT;
  if (real) {
    reflection->SetFloat(owner, &field, static_cast<float>(value));
    return true;
  }
  if (!std::isfinite(value) || value != std::floor(value) ||
      std::abs(value) > std::numeric_limits<int32_t>::max()) {
    return false;
  }
  if (field.cpp_type() != FieldDescriptor::CPPTYPE_INT32) return false;
  const auto number = static_cast<int32_t>(value);
  if (field.is_repeated()) {
    reflection->AddInt32(owner, &field, number);
  } else {
    reflection->SetInt32(owner, &field, number);
  }
  return true;
}

TEST(Validation, NumbersOutOfRangeAreRefusedByName) {
  const double inf = std::numeric_limits<double>::infinity();
  int refused = 0;
  int accepted = 0;
  for (const FieldDescriptor* field : RequestFields()) {
    if (!IsNumeric(*field)) continue;
    const NumericRule* rule = FindRule(NumericRules(), field->full_name());
    ASSERT_NE(rule, nullptr);
    if (rule->any) continue;
    double hi = rule->hi;
    if (rule->hi_bound == Bound::kVocab) hi = 1000;
    if (rule->hi_bound == Bound::kLastToken) hi = 999;
    if (rule->hi_bound == Bound::kMaxPositions) hi = 2048;
    for (double value : {std::nan(""), inf, -inf, -1.0, -0.0, 0.0, 1e-5, 1e308, rule->lo,
                         rule->lo - 1, hi, hi + 1, 2147483647.0}) {
      v1::GenerateRequest request;
      if (!SetNumber(request, *field, value)) continue;
      const double held = field->cpp_type() == FieldDescriptor::CPPTYPE_FLOAT
                              ? static_cast<double>(static_cast<float>(value))
                              : value;
      const bool good = (rule->lo_open ? held > rule->lo : held >= rule->lo) && held <= hi;
      const absl::Status status = Validate(request, kModel, ServerLimits());
      EXPECT_EQ(status.ok(), good) << field->name() << " = " << value << ": " << status;
      if (!good) {
        EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
        EXPECT_THAT(std::string(status.message()), HasSubstr(field->name()));
      }
      (good ? accepted : refused) += 1;
    }
  }
  EXPECT_GT(refused, 50);
  EXPECT_GT(accepted, 15);
}

TEST(Validation, TextIsCappedInBytes) {
  ServerLimits limits;
  limits.prompt_bytes_max = 10;
  v1::GenerateRequest request;
  request.set_text("0123456789");
  EXPECT_TRUE(Validate(request, kModel, limits).ok());
  request.set_text("0123456789x");
  EXPECT_THAT(std::string(Validate(request, kModel, limits).message()), HasSubstr("text"));
  request.set_text("");
  EXPECT_FALSE(Validate(request, kModel, limits).ok());
  // The messages of a chat count together.
  for (int i = 0; i < 3; ++i) {
    v1::ChatMessage* message = request.mutable_chat()->add_messages();
    message->set_role("user");
    message->set_content("1234");
  }
  EXPECT_THAT(std::string(Validate(request, kModel, limits).message()), HasSubstr("content"));
}

TEST(Validation, StopStringsAreCapped) {
  v1::GenerateRequest request;
  request.set_text("x");
  for (int i = 0; i < 16; ++i) request.add_stop(std::string("s"));
  EXPECT_TRUE(Validate(request, kModel, ServerLimits()).ok());
  request.add_stop(std::string("s"));
  EXPECT_THAT(std::string(Validate(request, kModel, ServerLimits()).message()), HasSubstr("stop"));
  request.clear_stop();
  request.add_stop(std::string(257, 's'));
  EXPECT_FALSE(Validate(request, kModel, ServerLimits()).ok());
  request.set_stop(0, std::string());
  EXPECT_FALSE(Validate(request, kModel, ServerLimits()).ok());
}

TEST(Validation, TextMustBeUtf8AndIsNeverEchoed) {
  for (const std::string bad :
       {"CANARY\x80", "CANARY\xC0\xAF", "CANARY\xED\xA0\x80", "CANARY\xF5"}) {
    v1::GenerateRequest request;
    request.set_text(bad);
    const absl::Status status = Validate(request, kModel, ServerLimits());
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(status.message()), HasSubstr("text"));
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("CANARY")));
  }
}

TEST(Validation, InputMustBeGiven) {
  EXPECT_THAT(std::string(Validate(v1::GenerateRequest(), kModel, ServerLimits()).message()),
              HasSubstr("input"));
}

}  // namespace
}  // namespace headgate
