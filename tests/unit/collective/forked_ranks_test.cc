// Ranks as processes: what comes back from them, and that one that fails ends the others.
#include "worker/collective/forked_ranks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

using testing::HasSubstr;
using testing::StartsWith;

constexpr absl::Duration kLimit = absl::Seconds(60);

TEST(ForkedRanksTest, RanksMeetInProcessesOfTheirOwn) {
  const pid_t parent = getpid();
  const absl::Status status = RunForked(3, kLimit, [parent](Collective& peers) -> absl::Status {
    if (getpid() == parent) return absl::InternalError("no process of its own");
    float value = static_cast<float>(1 << peers.rank());
    RETURN_IF_ERROR(peers.AllReduceSum({&value, 1}));
    if (peers.size() == 3 && value == 7.0f) return absl::OkStatus();
    return absl::InternalError(absl::StrCat(peers.size(), " ranks sum to ", value));
  });
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(getpid(), parent);
}

TEST(ForkedRanksTest, ARankThatFailsEndsTheOthersWithItsMessage) {
  const absl::Time begin = absl::Now();
  const absl::Status status = RunForked(3, kLimit, [](Collective& peers) -> absl::Status {
    if (peers.rank() == 2) return absl::InvalidArgumentError("no such thing");
    absl::SleepFor(kLimit);
    return absl::OkStatus();
  });
  EXPECT_EQ(status, absl::InvalidArgumentError("rank 2: no such thing"));
  EXPECT_LT(absl::Now() - begin, kLimit / 2);
}

// The others hear at once that the first one is gone, and fail too.
TEST(ForkedRanksTest, TheCauseIsToldAndNotWhatFollowsFromIt) {
  for (int round = 0; round < 10; ++round) {
    const absl::Status status = RunForked(3, kLimit, [](Collective& peers) -> absl::Status {
      if (peers.rank() == 1) return absl::NotFoundError("the cause");
      return peers.Barrier();
    });
    EXPECT_EQ(status, absl::NotFoundError("rank 1: the cause")) << "round " << round;
  }
}

TEST(ForkedRanksTest, ASignalIsTheCauseOfWhatTheOthersTell) {
  const absl::Status status = RunForked(2, kLimit, [](Collective& peers) -> absl::Status {
    if (peers.rank() == 1) raise(SIGKILL);
    return peers.Barrier();
  });
  EXPECT_THAT(std::string(status.message()),
              testing::AnyOf("rank 1 was ended by signal 9", StartsWith("rank 0: gloo")));
  EXPECT_FALSE(status.ok());
}

TEST(ForkedRanksTest, ALongMessageArrivesInPart) {
  const absl::Status status = RunForked(2, kLimit, [](Collective& peers) -> absl::Status {
    if (peers.rank() == 0) return peers.Barrier();
    return absl::InternalError(std::string(100'000, 'x'));
  });
  EXPECT_EQ(status.code(), absl::StatusCode::kInternal);
  EXPECT_THAT(std::string(status.message()), StartsWith("rank 1: xxx"));
}

TEST(ForkedRanksTest, RanksThatTakeTooLongAreEnded) {
  pid_t rank = -1;
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  const absl::Status status =
      RunForked(2, absl::Milliseconds(500), [&ends](Collective& peers) -> absl::Status {
        const pid_t own = getpid();
        if (peers.rank() == 0 && write(ends[1], &own, sizeof(own)) != sizeof(own))
          return absl::InternalError("write");
        absl::SleepFor(kLimit);
        return absl::OkStatus();
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kDeadlineExceeded);
  ASSERT_EQ(read(ends[0], &rank, sizeof(rank)), static_cast<ssize_t>(sizeof(rank)));
  EXPECT_EQ(kill(rank, 0), -1);
  EXPECT_EQ(errno, ESRCH);
  close(ends[0]);
  close(ends[1]);
}

}  // namespace
}  // namespace headgate
