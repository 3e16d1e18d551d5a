// What `headgate bench` says of flags and cases that it cannot measure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "cli/command.h"

namespace headgate {
namespace {

using testing::HasSubstr;

// Empty when the command line is good.
std::string Parse(const std::string& arguments) {
  CLI::App app;
  Run run;
  AddBenchCommand(app, run);
  try {
    app.parse(arguments);
  } catch (const CLI::ParseError& error) {
    return error.what();
  }
  return "";
}

TEST(BenchFlagsTest, ATraceTakesNoFlagOfTheOtherMode) {
  EXPECT_EQ(Parse("bench serve --runs 3 --vocab 400 --peer 127.0.0.1:1 --json"), "");
  EXPECT_EQ(Parse("bench serve --trace t.txt --at-once --server 127.0.0.1:1 --json"), "");
  for (const char* flag : {"--runs", "--vocab", "--peer"}) {
    const std::string error = Parse(absl::StrCat("bench serve --trace t.txt ", flag, " 300"));
    EXPECT_THAT(error, testing::AllOf(HasSubstr("--trace"), HasSubstr(flag))) << flag;
  }
  EXPECT_THAT(Parse("bench serve --at-once"), HasSubstr("--trace"));
}

TEST(BenchFlagsTest, AShareOfStreamingHeadsNeedsAPatternOnlyForPrompts) {
  EXPECT_EQ(Parse("bench step --sparsity 0.75"), "");
  EXPECT_EQ(Parse("bench step --sparsity 0.5 --policy folder"), "");
  EXPECT_EQ(Parse("bench prompt --sparsity 0.5 --policy folder"), "");
  EXPECT_EQ(Parse("bench prompt --sparsity 0.5"), "--sparsity requires --policy");
}

TEST(BenchFlagsTest, NumbersOfAStepAreInRange) {
  EXPECT_EQ(Parse("bench step --ranks 2 --page-layers 16 --page-tokens 32"), "");
  for (const char* flag : {"--ranks", "--page-layers", "--page-tokens"}) {
    EXPECT_THAT(Parse(absl::StrCat("bench step ", flag, " 0")), HasSubstr(flag));
  }
}

}  // namespace
}  // namespace headgate
