// Historic bugs, our own and of other servers, that the simulator must catch (tests/sim/).
// tests/sim compiles the files that name a bug again with -DHEADGATE_PLANT_BUG=<n>; everywhere else
// PlantedBug() is constant false and costs nothing.
#pragma once

#ifndef HEADGATE_PLANT_BUG
#define HEADGATE_PLANT_BUG 0
#endif

namespace headgate {

enum class Bug {
  kNeverFitsAccepted = 1,   // vllm#39734: fits the model but not the pool
  kHeadBlocks = 2,          // vllm#45388: nobody may pass an unschedulable head
  kPendingCountedFree = 3,  // vllm-ascend#16315: released pages counted before their step is done
  kLeakOnCancel = 4,        // vllm#46283: cancel in an odd state keeps the pages
  kLateResultAborts = 5,    // LMCache#4185: a result for a cancelled sequence is a failed assertion
  kNoEpochCheck = 6,        // results of a dead group's epoch are applied (nor are ids compared)
  kNoFence = 7,             // one finished step frees what later steps release
  kOldestPreempted = 8,     // livelock: the request that should finish first is preempted
  kTokenRepeated = 9,       // a resumed sequence samples the last emitted token again
  kQueuedDeadlineIgnored = 10,  // deadlines are looked at for running requests only
  kSequencesUncounted = 11,     // ours: more sequences run than a rank has places for
};

constexpr bool PlantedBug(Bug bug) { return HEADGATE_PLANT_BUG == static_cast<int>(bug); }

}  // namespace headgate
