#include "worker/phase_times.h"

#include <gtest/gtest.h>

namespace headgate {
namespace {

TEST(PhaseTimesTest, APhaseLastsUntilTheNextOneIsReported) {
  const absl::Time start = absl::UnixEpoch();
  PhaseTimes times("starting", start);
  times.Report("reading", start + absl::Milliseconds(200));
  times.Report("loading", start + absl::Milliseconds(201));
  times.Report("loading", start + absl::Milliseconds(900));
  times.Report("loaded", start + absl::Milliseconds(1701));
  ASSERT_EQ(times.ended().size(), 3u);
  EXPECT_EQ(times.ended()[2].phase, "loading");
  EXPECT_EQ(times.ended()[2].took, absl::Milliseconds(1500));
  EXPECT_EQ(times.ToString(), "starting 0.20 s, loading 1.50 s");
}

}  // namespace
}  // namespace headgate
