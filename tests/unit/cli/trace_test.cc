// The files that `headgate bench serve --trace` reads, and the figures that it prints.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>

#include "cli/bench/trace_bench.h"
#include "cli/bench/trace_file.h"

namespace headgate {
namespace {

absl::StatusOr<std::vector<TraceRequest>> Read(const std::string& text) {
  std::istringstream in(text);
  return ReadTrace(in, "t.txt");
}

TEST(TraceFileTest, RequestsWithAndWithoutTimes) {
  const auto plain = Read("# prompt output\r\n374 44\r\n\n396\t109");
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_EQ(plain->size(), 2u);
  EXPECT_EQ((*plain)[0].prompt_tokens, 374);
  EXPECT_EQ((*plain)[1].output_tokens, 109);
  EXPECT_EQ((*plain)[1].arrival, absl::ZeroDuration());
  const auto timed = Read("1 2 0\n3 4 1.25\n5 6 1.25\n");
  ASSERT_TRUE(timed.ok()) << timed.status();
  EXPECT_EQ((*timed)[2].arrival, absl::Milliseconds(1250));
}

TEST(TraceFileTest, BadLinesAreNamed) {
  for (const char* bad : {"1 2\n3", "1 2\n3 x", "1 2\n0 4", "1 2\n3 4 5", "1 2 3\n4 5 2.5",
                          "1 2 0\n3 4 nan", "1 2\n3 -4", "1 2\n99999999999 4"}) {
    const absl::Status status = Read(bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << bad;
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("t.txt:2:")) << bad;
  }
  EXPECT_FALSE(Read("# nothing\n").ok());
}

TEST(TraceFileTest, WhatAReplayHasNoRoomForIsRefused) {
  std::string many, longest;
  for (int64_t i = 0; i < kTraceRequestsMax; ++i) many += "1 1\n";
  EXPECT_TRUE(Read(many).ok());
  EXPECT_THAT(std::string(Read(many + "1 1\n").status().message()),
              testing::AllOf(testing::HasSubstr("t.txt:32769:"), testing::HasSubstr("32768")));
  for (int i = 0; i < 15; ++i) longest += "16777216 1\n";
  EXPECT_TRUE(Read(longest + "16777000 100\n").ok());
  EXPECT_THAT(std::string(Read(longest + "16777216 1\n").status().message()),
              testing::AllOf(testing::HasSubstr("t.txt:16:"), testing::HasSubstr("268435456")));
}

TEST(TraceBenchTest, PercentilesAreOfTheNearestRank) {
  const auto of = [](int count) {  // of 1, 2, ... count seconds
    ReplayTimes times;
    for (int i = count; i > 0; --i) {
      times.requests.emplace_back();
      times.requests.back().first_token = absl::Seconds(i);
    }
    const nlohmann::json all = Summarize(times)["first_token_s"];
    return std::vector<double>{all["p50"], all["p90"], all["p99"], all["max"]};
  };
  EXPECT_THAT(of(1), testing::ElementsAre(1, 1, 1, 1));
  EXPECT_THAT(of(2), testing::ElementsAre(1, 2, 2, 2));
  EXPECT_THAT(of(3), testing::ElementsAre(2, 3, 3, 3));
  EXPECT_THAT(of(4), testing::ElementsAre(2, 4, 4, 4));
  EXPECT_THAT(of(10), testing::ElementsAre(5, 9, 10, 10));
  EXPECT_THAT(of(11), testing::ElementsAre(6, 10, 11, 11));
  EXPECT_THAT(of(200), testing::ElementsAre(100, 180, 198, 200));
}

TEST(TraceBenchTest, OneFailedRequestFailsTheReplay) {
  ReplayTimes times;
  times.requests.resize(3);
  EXPECT_TRUE(CheckCompleted(times).ok());
  times.requests[1].status = absl::InvalidArgumentError("max_tokens");
  times.requests[2].status = absl::ResourceExhaustedError("the queue is full");
  const absl::Status failed = CheckCompleted(times);
  EXPECT_EQ(failed.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(failed.message()), testing::HasSubstr("2 of 3 requests failed"));
  EXPECT_THAT(std::string(failed.message()), testing::HasSubstr("INVALID_ARGUMENT: max_tokens"));
}

TEST(TraceBenchTest, FailedRequestsCountForNothingElse) {
  ReplayTimes times;
  times.total = absl::Seconds(2);
  RequestTimes done;
  done.prompt_tokens = 100;
  done.output_tokens = 3;
  done.first_token = absl::Milliseconds(50);
  done.gaps = {absl::Milliseconds(10), absl::Milliseconds(30)};
  RequestTimes failed;
  failed.status = absl::ResourceExhaustedError("the queue is full");
  failed.prompt_tokens = 1000;
  failed.output_tokens = 1;
  times.requests = {done, failed, done};
  const nlohmann::json summary = Summarize(times);
  EXPECT_EQ(summary["completed"], 2);
  EXPECT_EQ(summary["failed"], 1);
  EXPECT_THAT(summary["first_failure"].get<std::string>(), testing::HasSubstr("queue is full"));
  EXPECT_DOUBLE_EQ(summary["tokens_per_s"].get<double>(), 206.0 / 2);
  EXPECT_DOUBLE_EQ(summary["output_tokens_per_s"].get<double>(), 3.0);
  EXPECT_DOUBLE_EQ(summary["first_token_s"]["p50"].get<double>(), 0.05);
  EXPECT_DOUBLE_EQ(summary["between_tokens_s"]["mean"].get<double>(), 0.02);
  EXPECT_DOUBLE_EQ(summary["between_tokens_s"]["p99"].get<double>(), 0.03);
}

TEST(TraceBenchTest, TheStretchInWhichAllDecode) {
  const auto request = [](int start_ms, int first_ms, int tokens) {
    RequestTimes times;
    times.start = absl::Milliseconds(start_ms);
    times.first_token = absl::Milliseconds(first_ms);
    times.output_tokens = tokens;
    times.gaps.assign(static_cast<size_t>(tokens - 1), absl::Milliseconds(10));
    return times;
  };
  ReplayTimes times;
  times.requests = {request(0, 100, 11), request(20, 120, 21)};  // 100 to 200 and 140 to 340 ms
  const nlohmann::json all = Summarize(times)["all_decoding"];
  EXPECT_NEAR(all["s"].get<double>(), 0.06, 1e-9);
  EXPECT_NEAR(all["tokens_per_s"].get<double>(), 12 / 0.06, 1e-6);
  times.requests.push_back(request(500, 100, 5));
  EXPECT_TRUE(Summarize(times)["all_decoding"].is_null());
}

TEST(TraceBenchTest, NothingCompletedIsNoNumber) {
  ReplayTimes times;
  times.requests.resize(1);
  times.requests[0].status = absl::UnavailableError("gone");
  EXPECT_TRUE(Summarize(times)["first_token_s"].is_null());
}

}  // namespace
}  // namespace headgate
