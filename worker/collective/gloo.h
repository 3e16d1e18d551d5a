// Ranks as processes, over TCP with Gloo. Each rank's step thread calls its own collective.
//
// Decode makes two all-reduces of a few KiB per layer, so their latency counts. Gloo's own
// algorithms and unbound buffers hand every message to an event-loop thread; its bound buffers on a
// synchronous pair are read and written by the caller, which is what this file uses. All-reduce
// between two processes on a busy 2-core machine, median microseconds:
//   floats                    576   2,304   9,216   36,864   147,456
//   here                        8      11      38      110       454
//   Gloo's ring             3,800   3,900   2,300    3,990     1,970
//   Gloo's unbound buffers    230     190      60      240         -
// The ring waits for time slices of its event loops (on an idle machine it takes 220 for 36,864).
// Busy polling is as slow as the ring once there are more threads than cores.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "worker/collective/collective.h"

namespace headgate {

struct GlooOptions {
  int rank = 0;
  int size = 1;
  std::string rendezvous;          // an existing folder that all ranks see
  Epoch epoch = 0;                 // ranks of another epoch in the same folder are not met
  std::string host = "127.0.0.1";  // name or address on which this rank listens
  absl::Duration meet_timeout = absl::Seconds(120);  // for the peers to appear (they load weights)
  absl::Duration timeout = absl::Seconds(30);        // for any one call
  std::function<bool()>
      cancelled;  // asked a few times a second while peers are missing; may be null
};

// INVALID_ARGUMENT for options out of range or a missing folder, UNAVAILABLE when the peers do not
// appear or cannot be reached, CANCELLED. The process ignores SIGPIPE from now on, unless it
// handles it.
absl::StatusOr<std::unique_ptr<Collective>> MakeGlooCollective(const GlooOptions& options);

}  // namespace headgate
