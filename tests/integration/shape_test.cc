// A model of random weights through the whole path: real processes, a replayed trace.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/bench/trace_bench.h"
#include "cli/bench/trace_file.h"
#include "cli/bench/trace_replay.h"
#include "tests/integration/service.h"

namespace headgate {
namespace {

TEST(ShapeTest, ATraceIsReplayedWithoutAnyModelFile) {
  auto service = Service::Start({"--shape=stories260k", "--ranks=2", "--kv-memory-mib=64"});
  ASSERT_TRUE(service.ok()) << service.status();
  std::istringstream file("# prompt output\n40 20\n7 1\n300 5\n1 64\n40 20\n");
  auto trace = ReadTrace(file, "trace");
  ASSERT_TRUE(trace.ok()) << trace.status();
  for (int i = 0; i < 6; ++i) trace->insert(trace->end(), trace->begin(), trace->begin() + 5);
  // More streams than a connection may have.
  const size_t requests = 150;
  trace->resize(requests, {.prompt_tokens = 3, .output_tokens = 2, .arrival = {}});
  const auto times = ReplayTrace(*trace, {.server = (*service)->address()});
  ASSERT_TRUE(times.ok()) << times.status();
  ASSERT_EQ(times->requests.size(), requests);
  for (size_t i = 0; i < requests; ++i) {
    const RequestTimes& one = times->requests[i];
    EXPECT_TRUE(one.status.ok()) << one.status;
    EXPECT_EQ(one.prompt_tokens, (*trace)[i].prompt_tokens);
    EXPECT_EQ(one.output_tokens, (*trace)[i].output_tokens);
    EXPECT_EQ(static_cast<int64_t>(one.gaps.size()), one.output_tokens - 1);
    EXPECT_GT(one.first_token, absl::ZeroDuration());
    EXPECT_LE(one.first_token, one.end);
  }
  EXPECT_EQ(Summarize(*times)["completed"], requests);
  EXPECT_TRUE((*service)->WaitUntilIdle(absl::Seconds(20)).ok());

  v1::GenerateRequest text;
  text.set_text("hello");
  EXPECT_THAT(RunStream((*service)->stub(), text).status.error_message(),
              testing::HasSubstr("no tokenizer"));
  EXPECT_TRUE((*service)->Stop().ok());
}

}  // namespace
}  // namespace headgate
