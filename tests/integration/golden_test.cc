// stories260k's 200 greedy tokens, exactly, through gRPC: whatever the ranks, chunks, batch mates
// and preemptions.
#include <gtest/gtest.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/integration/service.h"
#include "tests/integration/stories.h"

namespace headgate {
namespace {

constexpr int64_t kGoldenOutput = 200;

std::vector<std::string> Args(int ranks, int64_t chunk, std::vector<std::string> more = {}) {
  std::vector<std::string> args = {"--weights=fp32", "--kv-dtype=fp32",
                                   absl::StrCat("--ranks=", ranks),
                                   absl::StrCat("--chunk-tokens=", chunk), "--kv-memory-mib=64"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

// Streams with prompts of `prompts` tokens at once; each must continue the golden text exactly.
void ExpectGolden(Service& service, const std::vector<int64_t>& prompts) {
  std::vector<StreamRecord> records(prompts.size());
  std::vector<std::thread> threads;
  for (size_t i = 0; i < prompts.size(); ++i) {
    threads.emplace_back([&, i] {
      const int64_t output = kGoldenOutput + 1 - prompts[i];
      records[i] = RunStream(service.stub(), GoldenRequest(prompts[i], output));
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < prompts.size(); ++i) {
    const StreamRecord& record = records[i];
    ASSERT_TRUE(record.status.ok()) << record.status.error_message();
    EXPECT_TRUE(record.indices_ok);
    EXPECT_EQ(static_cast<int64_t>(record.ids.size()), kGoldenOutput + 1 - prompts[i]);
    EXPECT_TRUE(IsGoldenPrefix(record.ids, prompts[i])) << "prompt of " << prompts[i];
    EXPECT_EQ(record.finish, v1::FINISH_REASON_LENGTH);
    EXPECT_EQ(record.usage.prompt_tokens(), prompts[i]);
  }
}

class GoldenTest : public testing::TestWithParam<std::tuple<int, int>> {};

TEST_P(GoldenTest, EveryStreamIsExact) {
  const auto [ranks, chunk] = GetParam();
  auto service = Service::Start(kStories, Args(ranks, chunk));
  ASSERT_TRUE(service.ok()) << service.status();
  ExpectGolden(**service, {1});
  ExpectGolden(**service, {1, 2, 15, 16, 17, 100, 150, 199});
  EXPECT_TRUE((*service)->WaitUntilIdle(absl::Seconds(10)).ok());
  const absl::Status stopped = (*service)->Stop();
  EXPECT_TRUE(stopped.ok()) << stopped;
}

INSTANTIATE_TEST_SUITE_P(RanksAndChunks, GoldenTest,
                         testing::Values(std::tuple(1, 1), std::tuple(1, 512), std::tuple(2, 7),
                                         std::tuple(2, 64), std::tuple(3, 16)));

TEST(GoldenPreemption, TokensStayExactWhenPagesRunOut) {
  // A whole stream holds 13 pages in each of 20 rows on one rank; eight of them want 2,080.
  auto service = Service::Start(kStories, Args(1, 32, {"--kv-pages=700"}));
  ASSERT_TRUE(service.ok()) << service.status();
  ExpectGolden(**service, {1, 2, 3, 4, 5, 6, 7, 8});
  const auto load = (*service)->Load();
  ASSERT_TRUE(load.ok());
  EXPECT_GT(load->preemptions(), 0u);
  EXPECT_TRUE((*service)->WaitUntilIdle(absl::Seconds(10)).ok());
}

TEST(GoldenGroups, TwoReplicasShareTheWork) {
  auto service = Service::Start(kStories, Args(1, 64, {"--groups=2"}));
  ASSERT_TRUE(service.ok()) << service.status();
  ExpectGolden(**service, {1, 2, 3, 4, 5, 6, 7, 8});
  const auto load = (*service)->Load();
  ASSERT_TRUE(load.ok());
  ASSERT_EQ(load->pools_size(), 2);
  for (const v1::PoolLoad& pool : load->pools()) EXPECT_GT(pool.pages_peak(), 0u);
}

TEST(GoldenRefusal, RequestThatCanNeverFitIsRefusedAtOnceAndBlocksNobody) {
  auto service = Service::Start(kStories, Args(1, 32, {"--kv-pages=100"}));
  ASSERT_TRUE(service.ok()) << service.status();
  const StreamRecord refused = RunStream((*service)->stub(), GoldenRequest(100, 100));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT)
      << refused.status.error_message();
  const StreamRecord served = RunStream((*service)->stub(), GoldenRequest(1, 60));
  EXPECT_TRUE(served.status.ok()) << served.status.error_message();
}

TEST(Streaming, HeadsHoldTheSameNumberOfPagesWhateverTheContext) {
  const std::string policy = HEADGATE_SOURCE_DIR "/tests/data/policies/stories_streaming";
  auto service = Service::Start(kStories, Args(1, 32, {absl::StrCat("--policy=", policy)}));
  ASSERT_TRUE(service.ok()) << service.status();
  ASSERT_TRUE(RunStream((*service)->stub(), GoldenRequest(100, 28)).status.ok());
  ASSERT_TRUE((*service)->WaitUntilIdle(absl::Seconds(10)).ok());  // the load is told by and by
  const auto short_context = (*service)->Load();
  ASSERT_TRUE(RunStream((*service)->stub(), GoldenRequest(200, 300)).status.ok());
  ASSERT_TRUE((*service)->WaitUntilIdle(absl::Seconds(10)).ok());
  const auto long_context = (*service)->Load();
  ASSERT_TRUE(short_context.ok() && long_context.ok());
  // 20 rows of 16 sinks and a window of 32: 1 + 3 pages each.
  EXPECT_EQ(short_context->pools(0).pages_peak(), 80u);
  EXPECT_EQ(long_context->pools(0).pages_peak(), 80u);
}

}  // namespace
}  // namespace headgate
