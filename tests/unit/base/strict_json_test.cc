#include "base/strict_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace headgate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(StrictJsonTest, BuildsWhatNlohmannBuilds) {
  for (const char* text :
       {"null", "true", "-3", "18446744073709551615", "1.5e3", "\"é\\n\"", "[]", "{}",
        R"({"a":[1,{"b":[[],{}]},"x"],"c":{"d":null,"a":false},"e":[[1],[2,[3]]]})",
        R"([{"a":1},{"a":2},[{"a":{"a":{"a":[0]}}}]])"}) {
    const auto document = ParseStrictJson(text, "f", 8);
    ASSERT_TRUE(document.ok()) << document.status();
    EXPECT_EQ(*document, nlohmann::json::parse(text));
  }
}

TEST(StrictJsonTest, RefusesKeysTwice) {
  const auto document = ParseStrictJson(R"({"a":{"b":1,"c":{},"b":2}})", "folder/f.json", 8);
  EXPECT_TRUE(absl::IsDataLoss(document.status()));
  EXPECT_THAT(std::string(document.status().message()),
              AllOf(HasSubstr("folder/f.json"), HasSubstr("\"b\" twice")));
}

TEST(StrictJsonTest, DepthIsExact) {
  EXPECT_TRUE(ParseStrictJson("[[[1]]]", "f", 3).ok());
  EXPECT_FALSE(ParseStrictJson("[[[[1]]]]", "f", 3).ok());
  EXPECT_FALSE(ParseStrictJson(std::string(1'000'000, '['), "f", 16).ok());
}

TEST(StrictJsonTest, RefusesWhatIsNotJson) {
  for (const char* text : {"", " ", "{", "{\"a\":}", "[1,]", "1 2", "NaN", "// c\n1", "'a'", "01",
                           "\"\\ud800\"", "1e999"}) {
    EXPECT_TRUE(absl::IsDataLoss(ParseStrictJson(text, "f", 8).status())) << text;
  }
}

}  // namespace
}  // namespace headgate
