#include "worker/format/strict_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "worker/format/utf8.h"

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

TEST(Utf8Test, Boundaries) {
  for (const char* good : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                           "\xee\x80\x80", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    EXPECT_EQ(WellFormedUtf8Prefix(good), std::string(good).size());
  }
  for (const char* bad :
       {"\x80", "\xc1\xbf", "\xc2", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe1\x80", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xff", "\xc2\x41", "\xe1\x80\x41"}) {
    EXPECT_EQ(WellFormedUtf8Prefix(std::string("ok") + bad), 2u);
  }
}

}  // namespace
}  // namespace headgate
