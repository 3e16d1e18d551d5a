// Coverage marks: each rare branch of the scheduler counts its visits, so that the simulator can
// require that its seeds reached all of them. Counters only; nothing decides by them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace headgate {

enum class Mark : uint8_t {
  kRefusedInvalid,
  kRefusedNeverFits,
  kRefusedAfterGroupUp,  // waited for a first or changed group, which turned out too small
  kRefusedFull,
  kFinishedAtOnce,  // a replay that was complete already
  kReplaySubmitted,
  kCancelWaiting,
  kCancelPreempted,
  kCancelRunning,
  kCancelUnstarted,  // admitted, but no plan has named it
  kCancelUnknown,
  kCancelDropsEvents,
  kDeadlineWaiting,
  kDeadlineRunning,
  kLookedPastHead,
  kHeadClosesGroups,  // passed over too often: others wait
  kPreempted,
  kPreemptedUnstarted,
  kAdmittedGuaranteed,  // preempted too often: pages for its whole life, never a victim again
  kStalledOnPending,    // pages are on their way back: wait instead of preempting
  kStalledBehindGuaranteed,
  kStalledBehindOlder,
  kChunkedPrefill,
  kDecodeInFlight,  // decode planned before the token it feeds is known
  kSurplusResult,
  kReleaseOnlyPlan,
  kStopToken,
  kScoreAcrossChunks,
  kFailedLogits,
  kTokenOutsideVocab,
  kBrokenReport,
  kStaleEpoch,
  kStaleStep,
  kMalformedResult,
  kGroupLostSequences,
  kGroupUpWithoutDown,
  kGroupUpStale,
  kGroupShapeRefused,
  kCount,
};

inline constexpr size_t kMarkCount = static_cast<size_t>(Mark::kCount);

struct SchedulerMarks {
  std::array<uint64_t, kMarkCount> visits{};

  void Visit(Mark mark) { ++visits[static_cast<size_t>(mark)]; }
  uint64_t operator[](Mark mark) const { return visits[static_cast<size_t>(mark)]; }
};

const char* MarkName(Mark mark);

}  // namespace headgate
