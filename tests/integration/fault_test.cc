// Processes that die or stop under load: every stream ends complete or UNAVAILABLE, its indices are
// 0, 1, 2, ... and its tokens exact, and the service is back without help.
#include <gtest/gtest.h>
#include <signal.h>

#include <atomic>
#include <random>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "tests/integration/service.h"
#include "tests/integration/stories.h"

namespace headgate {
namespace {

// Keeps `streams` golden streams running until destroyed and checks each.
class Load {
 public:
  Load(Service& service, int streams) {
    for (int i = 0; i < streams; ++i) {
      threads_.emplace_back([this, &service, i] {
        std::mt19937 random(static_cast<uint32_t>(i));
        while (!stop_) One(service, 1 + static_cast<int64_t>(random() % 100));
      });
    }
  }
  ~Load() { Finish(); }

  void Finish() {
    stop_ = true;
    for (std::thread& thread : threads_) {
      if (thread.joinable()) thread.join();
    }
  }
  int64_t complete() const { return complete_; }
  int64_t unavailable() const { return unavailable_; }

 private:
  void One(Service& service, int64_t prompt) {
    const int64_t output = 201 - prompt;
    const StreamRecord record = RunStream(service.stub(), GoldenRequest(prompt, output));
    EXPECT_TRUE(record.indices_ok);
    EXPECT_TRUE(IsGoldenPrefix(record.ids, prompt)) << record.ids.size() << " ids";
    if (record.status.ok()) {
      EXPECT_EQ(static_cast<int64_t>(record.ids.size()), output);
      ++complete_;
    } else {
      EXPECT_EQ(record.status.error_code(), grpc::StatusCode::UNAVAILABLE)
          << record.status.error_message();
      ++unavailable_;
      absl::SleepFor(absl::Milliseconds(20));
    }
  }

  std::atomic<bool> stop_ = false;
  std::atomic<int64_t> complete_ = 0;
  std::atomic<int64_t> unavailable_ = 0;
  std::vector<std::thread> threads_;
};

std::vector<std::string> Args(std::vector<std::string> more = {}) {
  std::vector<std::string> args = {"--weights=fp32", "--kv-dtype=fp32", "--ranks=2",
                                   "--kv-memory-mib=64", "--threads=1"};
  args.insert(args.end(), more.begin(), more.end());
  return args;
}

std::unique_ptr<Service> StartOrFail(std::vector<std::string> more = {}) {
  auto service = Service::Start(kStories, Args(std::move(more)));
  EXPECT_TRUE(service.ok()) << service.status();
  return service.ok() ? *std::move(service) : nullptr;
}

// Waits until `role` runs with another pid than `old`.
bool WaitForSuccessor(const Service& service, const std::string& role, pid_t old) {
  const absl::Time limit = absl::Now() + absl::Seconds(20);
  while (absl::Now() < limit) {
    const pid_t pid = service.PidOf(role);
    if (pid > 0 && pid != old) return true;
    absl::SleepFor(absl::Milliseconds(5));
  }
  return false;
}

TEST(Fault, RankKilledFiftyTimesUnder32Streams) {
  auto service = StartOrFail();
  ASSERT_NE(service, nullptr);
  Load load(*service, 32);
  std::mt19937 random(7);
  for (int kill_count = 0; kill_count < 50; ++kill_count) {
    absl::SleepFor(absl::Milliseconds(random() % 300));
    const std::string role = absl::StrCat("--name=worker-0-", random() % 2);
    const pid_t pid = service->PidOf(role);
    ASSERT_GT(pid, 0) << service->Log();
    kill(pid, SIGKILL);
    ASSERT_TRUE(WaitForSuccessor(*service, role, pid)) << service->Log();
    if (kill_count % 10 == 9) {
      ASSERT_TRUE(service->WaitUntilServing(absl::Seconds(20)).ok()) << service->Log();
    }
  }
  ASSERT_TRUE(service->WaitUntilServing(absl::Seconds(20)).ok()) << service->Log();
  load.Finish();
  EXPECT_GT(load.complete(), 0);
  const absl::Status idle = service->WaitUntilIdle(absl::Seconds(10));
  EXPECT_TRUE(idle.ok()) << idle;
  const absl::Status stopped = service->Stop();
  EXPECT_TRUE(stopped.ok()) << stopped;
}

TEST(Fault, StoppedRankIsNoticedWithinTheWatchdogLimit) {
  auto service = StartOrFail({"--watchdog-s=1"});
  ASSERT_NE(service, nullptr);
  Load load(*service, 8);
  absl::SleepFor(absl::Milliseconds(300));
  const pid_t pid = service->PidOf("--name=worker-0-1");
  ASSERT_GT(pid, 0);
  kill(pid, SIGSTOP);
  EXPECT_TRUE(WaitForSuccessor(*service, "--name=worker-0-1", pid)) << service->Log();
  kill(pid, SIGCONT);  // a zombie, if it were still there
  EXPECT_TRUE(service->WaitUntilServing(absl::Seconds(20)).ok()) << service->Log();
  load.Finish();
  EXPECT_GT(load.complete(), 0);
  EXPECT_TRUE(service->WaitUntilIdle(absl::Seconds(10)).ok());
}

TEST(Fault, RankThatPausesBrieflyCostsNothing) {
  auto service = StartOrFail({"--watchdog-s=5"});
  ASSERT_NE(service, nullptr);
  Load load(*service, 8);
  const pid_t pid = service->PidOf("--name=worker-0-0");
  kill(pid, SIGSTOP);
  absl::SleepFor(absl::Milliseconds(700));
  kill(pid, SIGCONT);
  absl::SleepFor(absl::Milliseconds(300));
  EXPECT_EQ(service->PidOf("--name=worker-0-0"), pid);
  load.Finish();
  EXPECT_EQ(load.unavailable(), 0);
}

TEST(Fault, SchedulerKilledUnderStreams) {
  auto service = StartOrFail();
  ASSERT_NE(service, nullptr);
  Load load(*service, 16);
  for (int i = 0; i < 5; ++i) {
    absl::SleepFor(absl::Milliseconds(300));
    const pid_t pid = service->PidOf("scheduler --listen");
    ASSERT_GT(pid, 0);
    kill(pid, SIGKILL);
    ASSERT_TRUE(WaitForSuccessor(*service, "scheduler --listen", pid)) << service->Log();
    ASSERT_TRUE(service->WaitUntilServing(absl::Seconds(20)).ok()) << service->Log();
  }
  load.Finish();
  EXPECT_GT(load.complete(), 0);
  EXPECT_TRUE(service->WaitUntilIdle(absl::Seconds(10)).ok());
}

TEST(Fault, RolesEndWithTheirSupervisor) {
  auto service = StartOrFail();
  ASSERT_NE(service, nullptr);
  const std::vector<pid_t> children = service->Children();
  ASSERT_EQ(children.size(), 4u);
  kill(service->supervisor_pid(), SIGKILL);
  const absl::Time limit = absl::Now() + absl::Seconds(5);
  for (const pid_t pid : children) {
    while (kill(pid, 0) == 0 && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(5));
    EXPECT_NE(kill(pid, 0), 0) << "process " << pid << " outlived its supervisor";
  }
}

}  // namespace
}  // namespace headgate
