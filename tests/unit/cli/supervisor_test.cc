#include "cli/supervisor.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "cli/exit_code.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

// Supervises the program supervised_child, which adds its pid to a file of the folder and then does
// as told.
class SupervisorTest : public testing::Test {
 protected:
  ProcessSpec Child(const std::string& name, const std::string& mode) {
    return {name, {HEADGATE_TEST_CHILD, mode, folder_.At(name)}};
  }
  // Pids of every life of child `name`, in order.
  std::vector<int> Lives(const std::string& name) const {
    std::ifstream in(folder_.At(name));
    std::vector<int> pids;
    for (int pid = 0; in >> pid;) pids.push_back(pid);
    return pids;
  }
  void WaitForLives(const std::string& name, size_t lives) const {
    const absl::Time limit = absl::Now() + absl::Seconds(20);
    while (Lives(name).size() < lives && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(2));
    ASSERT_GE(Lives(name).size(), lives) << name;
  }
  static bool Alive(int pid) { return kill(pid, 0) == 0; }
  static void StopSupervisor() { kill(getpid(), SIGTERM); }

  const TestFolder folder_;
};

TEST_F(SupervisorTest, ReportsReadyAndLeavesNoProcessBehind) {
  Supervisor supervisor({}, {{"group", {Child("a", "serve"), Child("b", "serve")}},
                             {"server", {Child("c", "serve")}}});
  bool ready = false;
  EXPECT_TRUE(supervisor
                  .Run([&] {
                    ready = true;
                    StopSupervisor();
                  })
                  .ok());
  EXPECT_TRUE(ready);
  for (const char* name : {"a", "b", "c"}) {
    ASSERT_EQ(Lives(name).size(), 1u);
    EXPECT_FALSE(Alive(Lives(name)[0]));
  }
}

TEST_F(SupervisorTest, KilledProcessTakesItsUnitDownAndIsSeenWithin250Milliseconds) {
  Supervisor supervisor({}, {{"group", {Child("a", "serve"), Child("b", "serve")}},
                             {"server", {Child("c", "serve")}}});
  std::thread killer;
  absl::Duration seen = absl::InfiniteDuration();
  EXPECT_TRUE(supervisor
                  .Run([&] {
                    killer = std::thread([&] {
                      const int other = Lives("b")[0];
                      const absl::Time before = absl::Now();
                      kill(Lives("a")[0], SIGKILL);
                      while (Alive(other)) absl::SleepFor(absl::Milliseconds(1));
                      seen = absl::Now() - before;
                      WaitForLives("a", 2);
                      WaitForLives("b", 2);
                      StopSupervisor();
                    });
                  })
                  .ok());
  killer.join();
  EXPECT_LT(seen, absl::Milliseconds(250));
  EXPECT_EQ(Lives("c").size(), 1u);  // other units go on
}

TEST_F(SupervisorTest, StoppedProcessIsFoundByTheWatchdog) {
  SupervisorOptions options;
  options.watchdog_limit = absl::Milliseconds(400);
  Supervisor supervisor(options, {{"group", {Child("a", "serve"), Child("b", "serve")}}});
  std::thread stopper;
  EXPECT_TRUE(supervisor
                  .Run([&] {
                    stopper = std::thread([&] {
                      kill(Lives("a")[0], SIGSTOP);
                      WaitForLives("b", 2);
                      StopSupervisor();
                    });
                  })
                  .ok());
  stopper.join();
  EXPECT_FALSE(Alive(Lives("a")[0]));
}

TEST_F(SupervisorTest, StepThatNeverEndsIsFoundByTheWatchdog) {
  SupervisorOptions options;
  options.watchdog_limit = absl::Milliseconds(400);
  Supervisor supervisor(options, {{"group", {Child("a", "hang")}}});
  std::thread waiter([&] {
    WaitForLives("a", 2);
    StopSupervisor();
  });
  EXPECT_TRUE(supervisor.Run([] {}).ok());
  waiter.join();
}

TEST_F(SupervisorTest, BadUseIsNotRetried) {
  Supervisor supervisor({}, {{"group", {Child("a", "bad_use"), Child("b", "serve")}}});
  const absl::Status status = supervisor.Run([] {});
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_EQ(status.message(), "a: --model: no such folder");  // the child's own words
  EXPECT_EQ(Lives("a").size(), 1u);
}

TEST_F(SupervisorTest, GivesUpOnAUnitThatNeverBecomesReady) {
  SupervisorOptions options;
  options.failures_max = 3;
  options.backoff_max = absl::Milliseconds(50);
  Supervisor supervisor(options, {{"group", {Child("a", "crash")}}});
  const absl::Status status = supervisor.Run([] {});
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(Lives("a").size(), 4u);
}

TEST_F(SupervisorTest, MissingProgramIsAFailureNotAHang) {
  SupervisorOptions options;
  options.failures_max = 1;
  Supervisor supervisor(options, {{"group", {{"x", {"./no_such_program"}}}}});
  EXPECT_FALSE(supervisor.Run([] {}).ok());
}

}  // namespace
}  // namespace headgate
