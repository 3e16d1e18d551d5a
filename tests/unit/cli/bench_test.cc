// What `headgate bench` says of flags and cases that it cannot measure.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <sstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/bench/step_bench.h"
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

// 20 rows of pages of 512 bytes: 1 MiB has room for 1,632 positions.
StepBenchOptions OneFitsTwoDoNot() {
  StepBenchOptions options;
  options.shape = "stories260k";
  options.device = "cpu";
  options.batches = {1, 2};
  options.contexts = {1024};
  options.steps = 1;
  options.kv_memory_mib = 1;
  return options;
}

TEST(StepBenchTest, WhatDoesNotFitIsARowOfTheTable) {
  std::ostringstream out;
  const absl::Status status = RunStepBench(OneFitsTwoDoNot(), out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_THAT(out.str(), HasSubstr("\n       1      1024  "));
  EXPECT_THAT(out.str(), HasSubstr("\n       2      1024 does not fit\n"));
}

TEST(StepBenchTest, WhatDoesNotFitIsAnEntryOfTheJson) {
  StepBenchOptions options = OneFitsTwoDoNot();
  options.json = true;
  std::ostringstream out;
  const absl::Status status = RunStepBench(options, out);
  ASSERT_TRUE(status.ok()) << status;
  const nlohmann::json steps = nlohmann::json::parse(out.str())["steps"];
  ASSERT_EQ(steps.size(), 2u);
  EXPECT_GT(steps[0]["tokens_per_s"].get<double>(), 0.0);
  EXPECT_FALSE(steps[0].contains("error"));
  EXPECT_EQ(steps[1]["batch"], 2);
  EXPECT_EQ(steps[1]["error"], "does not fit");
  EXPECT_FALSE(steps[1].contains("tokens_per_s"));
}

TEST(StepBenchTest, AContextBeyondTheShapeNamesItsFlag) {
  StepBenchOptions options = OneFitsTwoDoNot();
  options.contexts = {16, int64_t{1} << 21};
  std::ostringstream out;
  const absl::Status status = RunStepBench(options, out);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("--context 2097152: stories260k has"));
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace headgate
