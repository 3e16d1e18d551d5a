#include "server/inference_server.h"

#include <grpcpp/health_check_service_interface.h>

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "proto/link.h"

namespace headgate {
namespace {

constexpr absl::Duration kDrainLookEvery = absl::Milliseconds(10);
constexpr absl::Duration kDrainLinger = absl::Milliseconds(200);
constexpr absl::Duration kShortCallsMax = absl::Milliseconds(500);

absl::Status Check(const InferenceServerOptions& options) {
  if (options.model.name.empty() || !(options.model.max_positions > 1) ||
      !(options.model.vocab > 0)) {
    return absl::InvalidArgumentError("server: the model needs a name, positions and a vocabulary");
  }
  return CheckMayBePlain(options.scheduler.address, options.scheduler.credentials != nullptr);
}

}  // namespace

InferenceServer::InferenceServer(const InferenceServerOptions& options, PromptEncoder encoder)
    : model_name_(options.model.name),
      calls_(std::make_unique<CallContext>(options.model, options.limits, std::move(encoder))),
      service_(*calls_) {
  calls_->pool = std::make_unique<WorkPool>(options.tokenize_threads, options.tokenize_queue_limit);
}

absl::StatusOr<std::unique_ptr<InferenceServer>> InferenceServer::Start(
    InferenceServerOptions options, std::shared_ptr<const Tokenizer> tokenizer,
    std::optional<ModelTemplate> chat_template) {
  RETURN_IF_ERROR(Check(options));
  std::unique_ptr<InferenceServer> server(
      new InferenceServer(options, PromptEncoder(std::move(tokenizer), std::move(chat_template))));
  InferenceServer* const self = server.get();
  // Before serving: calls use the link. Health is told once the server is there.
  server->calls_->link =
      std::make_unique<SchedulerLink>(options.scheduler, [self](bool) { self->UpdateHealth(); });
  grpc::EnableDefaultHealthCheckService(true);
  ASSIGN_OR_RETURN(ListeningServer listening, Listen("server", options.listen, options.credentials,
                                                     Callers::kClients, server->service_));
  server->port_ = listening.port;
  {
    std::lock_guard lock(server->health_mutex_);
    server->server_ = std::move(listening.server);
  }
  server->UpdateHealth();
  return server;
}

InferenceServer::~InferenceServer() {
  Drain(absl::ZeroDuration());
  {
    std::lock_guard lock(health_mutex_);
    server_.reset();
  }
  calls_->link.reset();  // its thread may be telling us about readiness
}

void InferenceServer::UpdateHealth() {
  std::lock_guard lock(health_mutex_);
  if (server_ == nullptr) return;
  grpc::HealthCheckServiceInterface* const health = server_->GetHealthCheckService();
  const bool serving = ready() && !calls_->draining;
  health->SetServingStatus("", serving);
  health->SetServingStatus(model_name_, serving);
}

void InferenceServer::Drain(absl::Duration grace) {
  if (drained_) return;
  drained_ = true;
  calls_->draining = true;
  UpdateHealth();
  if (server_ == nullptr) return;
  // gRPC closes connections with the last call, and a client that writes to a closed one may lose
  // what it has not read. So streams end first, then clients get a moment, then the server goes.
  const absl::Time end = absl::Now() + grace;
  const bool had_streams = calls_->counters.Stats().streams_active > 0;
  while (absl::Now() < end && calls_->counters.Stats().streams_active > 0) {
    absl::SleepFor(kDrainLookEvery);
  }
  if (had_streams) absl::SleepFor(std::min(kDrainLinger, grace));
  // What may be left: calls of a moment, watches of the health, which never end, and connections of
  // idle clients, which look at their sockets every few seconds only.
  server_->Shutdown(absl::ToChronoTime(absl::Now() + std::min(kShortCallsMax, grace)));
  server_->Wait();
}

ServerStats InferenceServer::Stats() const {
  ServerStats stats = calls_->counters.Stats();
  const SchedulerLinkState link = calls_->link->State();
  stats.scheduler_attached = link.attached ? 1 : 0;
  stats.scheduler_reconnects = link.reconnects;
  stats.replays = link.replays;
  stats.stale_messages = link.stale_messages;
  stats.queues = {{"live_requests", link.live, link.live_limit},
                  {"scheduler_unsent", link.unsent, link.unsent_limit},
                  {"unwritten_bytes", stats.unwritten_bytes,
                   stats.streams_active * calls_->limits.pending_bytes_max},
                  calls_->pool->Stats()};
  return stats;
}

}  // namespace headgate
