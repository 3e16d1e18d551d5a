// The scheduler's process side: the gRPC service that servers attach to, and the loop's thread.
//
//   auto server = SchedulerServer::Start(options);   // serves at once; workers may come later
//   ... server->Stats() from any thread ...
//   server->Shutdown(grace);
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/stats.h"
#include "scheduler/shell/attach_stream.h"
#include "scheduler/shell/scheduler_loop.h"

namespace headgate {

struct SchedulerServerOptions {
  std::string listen;  // "unix:/path" or host:port; port 0 = any free one
  SchedulerLoopOptions loop;
  AttachLimits attach;
  size_t servers_max = 64;
  std::shared_ptr<grpc::ServerCredentials> credentials;  // null = plain, for local addresses
};

class SchedulerServer final {
 public:
  // INVALID_ARGUMENT for options without a group, FAILED_PRECONDITION when a plain address is not
  // local, UNAVAILABLE when the address is taken.
  static absl::StatusOr<std::unique_ptr<SchedulerServer>> Start(SchedulerServerOptions options);
  ~SchedulerServer();

  int port() const { return port_; }  // 0 for a unix socket
  SchedulerStats Stats() const { return loop_.Stats(); }

  // Ends the loop and all streams; servers hear UNAVAILABLE. Idempotent, not thread safe.
  void Shutdown(absl::Duration grace = absl::Seconds(1));

 private:
  class Service;

  SchedulerServer(SchedulerServerOptions options, std::shared_ptr<ShellInbox> inbox);

  const std::shared_ptr<ShellInbox> inbox_;
  SchedulerLoop loop_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace headgate
