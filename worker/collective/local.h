// Ranks as threads of one process: for tests, and for a group of one rank. A LocalGroup may be used
// from any thread; each rank's Collective belongs to that rank's step thread.
#pragma once

#include <memory>

#include "absl/time/time.h"
#include "worker/collective/collective.h"

namespace headgate {

class LocalGroup {
 public:
  // A call that waits longer than `timeout` for its peers returns UNAVAILABLE.
  LocalGroup(int size, absl::Duration timeout);

  // The collective of one rank; once per rank. Destroying it is how a rank "dies": calls of the
  // others, present and future, then return UNAVAILABLE.
  std::unique_ptr<Collective> Join(int rank);

 private:
  struct Meeting;
  std::shared_ptr<Meeting> meeting_;
};

// A group of one rank: nothing to wait for, nothing can fail.
std::unique_ptr<Collective> MakeSoloCollective();

}  // namespace headgate
