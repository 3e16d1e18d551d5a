// Makes any collective fail the way NCCL does: when a peer is lost, the survivors' calls do not
// return. Tests of the supervisor run the CPU collectives in this form (reliability: a rank's death
// must be seen, and the group killed, from outside). Each rank's step thread calls its own.
#pragma once

#include <memory>

#include "absl/synchronization/notification.h"
#include "worker/collective/collective.h"

namespace headgate {

// Calls go to `inner`; one that fails waits until `abort` is notified (nullptr: for ever) and then
// returns the error. `abort` must outlive the result.
std::unique_ptr<Collective> MakeHanging(std::unique_ptr<Collective> inner,
                                        absl::Notification* abort);

}  // namespace headgate
