#include "worker/shell/worker_service.h"

#include <utility>

#include "base/status_macros.h"
#include "headgate/internal/cluster.grpc.pb.h"
#include "proto/link.h"
#include "worker/shell/run_stream.h"

namespace headgate {
namespace {

// Of one stream at most an Init, two plans and its end wait; schedulers come one after the other.
constexpr size_t kInboxLimit = 256;

}  // namespace

class WorkerService::Service final : public internal::Worker::CallbackService {
 public:
  explicit Service(std::shared_ptr<StepInbox> inbox) : inbox_(std::move(inbox)) {}

  RunStream::Reactor* Run(grpc::CallbackServerContext* context) override {
    return RunStream::Accept(context, inbox_);
  }

 private:
  const std::shared_ptr<StepInbox> inbox_;
};

WorkerService::WorkerService(WorkerServiceOptions options, std::shared_ptr<StepInbox> inbox)
    : inbox_(std::move(inbox)),
      loop_(std::move(options.loop), inbox_),
      service_(std::make_unique<Service>(inbox_)) {}

absl::StatusOr<std::unique_ptr<WorkerService>> WorkerService::Start(WorkerServiceOptions options) {
  RETURN_IF_ERROR(Worker::Check(options.loop.worker));
  const std::string listen = options.listen;
  const auto credentials = options.credentials;
  std::unique_ptr<WorkerService> worker(
      new WorkerService(std::move(options), std::make_shared<StepInbox>(kInboxLimit)));
  ASSIGN_OR_RETURN(ListeningServer listening,
                   Listen("worker", listen, credentials, Callers::kOwnRoles, *worker->service_));
  worker->server_ = std::move(listening.server);
  worker->port_ = listening.port;
  worker->thread_ = std::thread([loop = &worker->loop_] { loop->Run(); });
  return worker;
}

WorkerService::~WorkerService() { Shutdown(); }

void WorkerService::Shutdown(absl::Duration grace) {
  if (server_ != nullptr) {
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
    server_ = nullptr;
  }
  inbox_->Close();
  if (thread_.joinable()) thread_.join();
  // What a loop that ended early left behind holds streams, and these hold the inbox.
  inbox_->Clear();
}

}  // namespace headgate
