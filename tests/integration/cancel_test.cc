// Clients that leave at random points: everything they held comes back, and nothing grows.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <random>
#include <thread>

#include "absl/strings/numbers.h"
#include "tests/integration/service.h"
#include "tests/integration/stories.h"

namespace headgate {
namespace {

constexpr int kThreads = 16;
// Of one role, once warm. TSan holds four bytes of shadow for each byte.
#ifdef __SANITIZE_THREAD__
constexpr int64_t kGrowthKibMax = 5 * 24 * 1024;
#else
constexpr int64_t kGrowthKibMax = 24 * 1024;
#endif

// 10,000; fewer where HEADGATE_CANCEL_REQUESTS says so (sanitizer builds).
int Requests() {
  const char* text = std::getenv("HEADGATE_CANCEL_REQUESTS");
  int requests = 10'000;
  if (text != nullptr && !absl::SimpleAtoi(text, &requests)) requests = 10'000;
  return requests;
}

void RunLeavingClients(Service& service, int requests, uint32_t seed) {
  std::atomic<int> left = requests;
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      std::mt19937 random(seed + static_cast<uint32_t>(i));
      while (left-- > 0) {
        const int64_t prompt = 1 + static_cast<int64_t>(random() % 120);
        const int64_t output = 1 + static_cast<int64_t>(random() % 40);
        // A third stay to the end; the others leave before, at, or after some token.
        const int64_t leave = random() % 3 == 0 ? -1 : static_cast<int64_t>(random() % 20);
        const StreamRecord record = RunStream(service.stub(), GoldenRequest(prompt, output), leave);
        EXPECT_TRUE(record.indices_ok);
        EXPECT_TRUE(IsGoldenPrefix(record.ids, prompt));
        const bool cancelled = record.status.error_code() == grpc::StatusCode::CANCELLED;
        EXPECT_TRUE(record.status.ok() || (leave >= 0 && cancelled))
            << record.status.error_code() << " " << record.status.error_message();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

std::vector<int64_t> ResidentOfAll(const Service& service) {
  std::vector<int64_t> kib;
  for (const pid_t pid : service.Children()) kib.push_back(Service::ResidentKib(pid));
  return kib;
}

TEST(Cancel, TenThousandClientsLeaveAtRandomPoints) {
  auto started = Service::Start(kStories, {"--weights=fp32", "--kv-dtype=fp32", "--ranks=2",
                                           "--threads=1", "--kv-memory-mib=32"});
  ASSERT_TRUE(started.ok()) << started.status();
  Service& service = **started;
  const int requests = Requests();
  // Touches every page and buffer once.
  const int warm_up = std::max(requests / 5, std::min(requests / 2, 500));
  RunLeavingClients(service, warm_up, 1);
  const std::vector<int64_t> before = ResidentOfAll(service);
  RunLeavingClients(service, requests - warm_up, 1000);
  const absl::Status idle = service.WaitUntilIdle(absl::Seconds(10));
  EXPECT_TRUE(idle.ok()) << idle;

  const std::vector<int64_t> after = ResidentOfAll(service);
  ASSERT_EQ(before.size(), after.size());
  for (size_t i = 0; i < before.size(); ++i) EXPECT_LT(after[i] - before[i], kGrowthKibMax) << i;

  const auto server = service.Metrics(0);
  const auto scheduler = service.Metrics(1);
  ASSERT_TRUE(server.ok() && scheduler.ok());
  EXPECT_EQ(MetricSum(*server, "headgate_streams_active"), 0);
  EXPECT_EQ(MetricSum(*scheduler, "headgate_requests_running"), 0);
  EXPECT_EQ(MetricSum(*scheduler, "headgate_ledger_held_pages"), 0);
  EXPECT_EQ(MetricSum(*scheduler, "headgate_ledger_reserved_pages"), 0);
  EXPECT_GT(MetricSum(*scheduler, "headgate_requests_cancelled_total"), 0);
  const absl::Status stopped = service.Stop();
  EXPECT_TRUE(stopped.ok()) << stopped;
}

}  // namespace
}  // namespace headgate
