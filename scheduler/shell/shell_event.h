// What gRPC's threads tell the scheduler's loop. Already checked: base types only.
#pragma once

#include <cstdint>
#include <memory>
#include <variant>

#include "absl/status/status.h"
#include "base/bounded_queue.h"
#include "base/request.h"
#include "base/step.h"
#include "proto/wire.h"

namespace headgate {

class AttachStream;

struct ServerAttached {
  std::shared_ptr<AttachStream> server;
};

// request.id is the server's own id; the loop gives it one that is unique among all servers.
struct RequestArrived {
  std::shared_ptr<AttachStream> server;
  Request request;
};

struct RequestDropped {
  std::shared_ptr<AttachStream> server;
  uint64_t id = 0;
};

struct ServerGone {
  std::shared_ptr<AttachStream> server;
};

// A rank is alive but not ready yet (it loads weights or waits for its peers).
struct RankLoading {};

struct RankReplied {
  int group = 0;
  int rank = 0;
  Epoch epoch = 0;  // of the stream that it came on
  std::variant<RankLoading, RankReady, StepResult> reply;
};

struct RankClosed {
  int group = 0;
  int rank = 0;
  Epoch epoch = 0;
  absl::Status status;
};

using ShellEvent = std::variant<ServerAttached, RequestArrived, RequestDropped, ServerGone,
                                RankReplied, RankClosed>;
using ShellInbox = BoundedQueue<ShellEvent>;

}  // namespace headgate
