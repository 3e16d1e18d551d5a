// The worker's process side: the gRPC service that a scheduler opens Run streams to, and the step
// thread.
//
//   auto service = WorkerService::Start(options);
//   ... service->Progress() from any thread: the supervisor's heartbeat ...
//   service->Shutdown(grace);
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>
#include <thread>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "worker/shell/step_loop.h"

namespace headgate {

struct WorkerServiceOptions {
  std::string listen;  // "unix:/path" or host:port; port 0 = any free one
  StepLoopOptions loop;
  std::shared_ptr<grpc::ServerCredentials> credentials;  // null = plain, for local addresses
};

class WorkerService final {
 public:
  // Serves at once; the model is loaded when the first Init says which rank this is.
  // FAILED_PRECONDITION when a plain address is not local, UNAVAILABLE when it is taken; errors of
  // the model folder that show without reading weights.
  static absl::StatusOr<std::unique_ptr<WorkerService>> Start(WorkerServiceOptions options);
  ~WorkerService();

  int port() const { return port_; }  // 0 for a unix socket
  WorkerProgress Progress() const { return loop_.Progress(); }

  // Ends all streams and the step thread, which first finishes its step. Idempotent, not thread
  // safe.
  void Shutdown(absl::Duration grace = absl::Seconds(1));

 private:
  class Service;

  WorkerService(WorkerServiceOptions options, std::shared_ptr<StepInbox> inbox);

  const std::shared_ptr<StepInbox> inbox_;
  StepLoop loop_;
  std::unique_ptr<Service> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  std::thread thread_;
};

}  // namespace headgate
