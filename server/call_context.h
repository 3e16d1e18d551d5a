// What every call of one server shares. Outlives the calls (InferenceServer sees to that).
// Immutable or thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>

#include "absl/time/time.h"
#include "server/limits.h"
#include "server/prompt_encoder.h"
#include "server/scheduler_link.h"
#include "server/server_counters.h"
#include "server/stream_watch.h"
#include "server/work_pool.h"

namespace headgate {

struct CallContext {
  ServedModel model;
  ServerLimits limits;
  PromptEncoder encoder;
  ServerCounters counters;
  StreamWatch watch;
  std::atomic<bool> draining = false;
  // Ended before the rest: they call into streams.
  std::unique_ptr<WorkPool> pool;
  std::unique_ptr<SchedulerLink> link;

  CallContext(ServedModel served_model, const ServerLimits& server_limits,
              PromptEncoder prompt_encoder)
      : model(std::move(served_model)),
        limits(server_limits),
        encoder(std::move(prompt_encoder)),
        watch(limits.write_stall_max / 4) {}

  // The call's deadline: the client's, but never later than deadline_max from now.
  absl::Time DeadlineOf(const grpc::CallbackServerContext& context) const;
};

// Parses a message that gRPC has left raw. False when it is malformed.
bool ParseMessage(const grpc::ByteBuffer& bytes, google::protobuf::Message& out);
grpc::ByteBuffer SerializeMessage(const google::protobuf::Message& message);

}  // namespace headgate
