#include "scheduler/shell/scheduler_server.h"

#include <utility>

#include "base/status_macros.h"
#include "headgate/internal/cluster.grpc.pb.h"
#include "proto/link.h"

namespace headgate {
namespace {

constexpr size_t kEventsPerRank = 256;  // results in flight, and the stream's end

// Every server may have unread_limit messages and its end in the inbox, every rank its results.
size_t InboxLimit(const SchedulerServerOptions& options) {
  size_t ranks = 0;
  for (const auto& group : options.loop.groups) ranks += group.size();
  return options.servers_max * 2 * (options.attach.unread_limit + 2) + ranks * kEventsPerRank + 1;
}

absl::Status Check(const SchedulerServerOptions& options) {
  if (options.loop.groups.empty()) {
    return absl::InvalidArgumentError("scheduler: no worker group is configured");
  }
  for (const auto& group : options.loop.groups) {
    if (group.empty()) {
      return absl::InvalidArgumentError("scheduler: a worker group has no address");
    }
    for (const std::string& address : group) {
      RETURN_IF_ERROR(CheckMayBePlain(address, options.loop.group.credentials != nullptr));
    }
  }
  return absl::OkStatus();
}

// Answers a call with a status and nothing else.
class Refusal final : public AttachStream::Reactor {
 public:
  explicit Refusal(const grpc::Status& status) { Finish(status); }
  void OnDone() override { delete this; }
};

}  // namespace

class SchedulerServer::Service final : public internal::Scheduler::CallbackService {
 public:
  Service(std::shared_ptr<ShellInbox> inbox, const SchedulerServerOptions& options)
      : inbox_(std::move(inbox)),
        model_(options.loop.model),
        limits_(options.attach),
        servers_max_(options.servers_max) {}

  AttachStream::Reactor* Attach(grpc::CallbackServerContext* context) override {
    // Every live stream holds a copy of the slot.
    if (static_cast<size_t>(slot_.use_count()) > servers_max_) {
      return new Refusal({grpc::StatusCode::RESOURCE_EXHAUSTED, "scheduler: too many servers"});
    }
    return AttachStream::Accept(context, inbox_, model_, limits_, slot_);
  }

 private:
  const std::shared_ptr<ShellInbox> inbox_;
  const std::string model_;
  const AttachLimits limits_;
  const size_t servers_max_;
  const std::shared_ptr<const int> slot_ = std::make_shared<const int>(0);
};

SchedulerServer::SchedulerServer(SchedulerServerOptions options, std::shared_ptr<ShellInbox> inbox)
    : inbox_(std::move(inbox)),
      loop_(options.loop, inbox_),
      service_(std::make_unique<Service>(inbox_, options)) {}

absl::StatusOr<std::unique_ptr<SchedulerServer>> SchedulerServer::Start(
    SchedulerServerOptions options) {
  RETURN_IF_ERROR(Check(options));
  auto inbox = std::make_shared<ShellInbox>(InboxLimit(options));
  std::unique_ptr<SchedulerServer> server(new SchedulerServer(options, std::move(inbox)));
  ASSIGN_OR_RETURN(ListeningServer listening,
                   Listen("scheduler", options.listen, options.credentials, Callers::kOwnRoles,
                          *server->service_));
  server->server_ = std::move(listening.server);
  server->port_ = listening.port;
  server->thread_ = std::thread([loop = &server->loop_] { loop->Run(); });
  return server;
}

SchedulerServer::~SchedulerServer() { Shutdown(); }

void SchedulerServer::Shutdown(absl::Duration grace) {
  inbox_->Close();
  if (thread_.joinable()) thread_.join();
  inbox_->Clear();  // what waits holds streams, and these hold the inbox
  if (server_ != nullptr) {
    server_->Shutdown(absl::ToChronoTime(absl::Now() + grace));
    server_->Wait();
    server_.reset();
  }
}

}  // namespace headgate
