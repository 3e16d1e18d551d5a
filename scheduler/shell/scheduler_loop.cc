#include "scheduler/shell/scheduler_loop.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "proto/wire.h"

namespace headgate {
namespace {

constexpr int kEventsPerRound = 256;  // then the core runs, however many more wait
constexpr int kPlansPerRound = 8;     // the core has far fewer steps in flight
constexpr absl::Duration kPublishEvery = absl::Milliseconds(100);
constexpr absl::Duration kWaitMax = absl::Seconds(1);

template <class... Ts>
struct Overloaded : Ts... {
  using Ts::operator()...;
};
template <class... Ts>
Overloaded(Ts...) -> Overloaded<Ts...>;

SchedulerConfig CoreConfig(const SchedulerLoopOptions& options) {
  SchedulerConfig config = options.scheduler;
  config.groups = static_cast<int>(options.groups.size());
  return config;
}

}  // namespace

SchedulerLoop::SchedulerLoop(SchedulerLoopOptions options, std::shared_ptr<ShellInbox> inbox)
    : options_(std::move(options)), inbox_(std::move(inbox)), scheduler_(CoreConfig(options_)) {
  WorkerGroupOptions group_options = options_.group;
  group_options.model = options_.model;
  for (size_t i = 0; i < options_.groups.size(); ++i) {
    groups_.emplace_back(static_cast<int>(i), options_.groups[i], group_options, inbox_);
  }
  told_up_.resize(groups_.size(), false);
  stats_ = Collect();
}

void SchedulerLoop::Run() {
  Tick(absl::Now());
  while (!inbox_->closed()) {
    std::optional<ShellEvent> event = inbox_->Pop(WaitTime(absl::Now()));
    const absl::Time now = absl::Now();
    for (int i = 0; event.has_value(); ++i) {
      Handle(*std::move(event), now);
      if (i == kEventsPerRound) break;
      event = inbox_->Pop(absl::ZeroDuration());
    }
    Tick(now);
    RunCore(now);
    Publish(now);
  }
  groups_.clear();
  routes_.clear();
  for (const auto& [server, clients] : servers_) {
    server->Drop(absl::UnavailableError("scheduler: shutting down"));
  }
  servers_.clear();
}

absl::Duration SchedulerLoop::WaitTime(absl::Time now) const {
  absl::Time until = std::min(scheduler_.NextDeadline(), now + kWaitMax);
  for (const WorkerGroup& group : groups_) until = std::min(until, group.NextDeadline());
  if (dirty_) until = std::min(until, published_at_ + kPublishEvery);
  // The queue counts whole milliseconds.
  return std::clamp(absl::Ceil(until - now, absl::Milliseconds(1)), absl::Milliseconds(1),
                    kWaitMax);
}

void SchedulerLoop::Handle(ShellEvent event, absl::Time now) {
  dirty_ = true;
  std::visit(Overloaded{[&](ServerAttached& e) { OnAttached(e.server); },
                        [&](RequestArrived& e) { OnRequest(std::move(e), now); },
                        [&](RequestDropped& e) { OnDropped(e); }, [&](ServerGone& e) { OnGone(e); },
                        [&](RankReplied& e) { OnReply(std::move(e), now); },
                        [&](RankClosed& e) { OnClosed(e, now); }},
             event);
}

internal::Welcome SchedulerLoop::MakeWelcome() const {
  internal::Welcome welcome;
  welcome.set_model(options_.model);
  for (const WorkerGroup& group : groups_) {
    if (!group.up()) continue;
    welcome.set_model(group.model());
    welcome.set_max_positions(group.shape().max_positions);
    welcome.set_vocab(group.shape().vocab);
    break;
  }
  return welcome;
}

void SchedulerLoop::OnAttached(const std::shared_ptr<AttachStream>& server) {
  servers_.try_emplace(server);
  server->SendWelcome(MakeWelcome());
  internal::Load load;
  ToWire(Collect(), load);
  server->SendLoad(load);
  server->Consumed();
}

void SchedulerLoop::OnRequest(RequestArrived event, absl::Time now) {
  event.server->Consumed();
  const auto server = servers_.find(event.server);
  if (server == servers_.end()) return;
  const uint64_t id = event.request.id;
  const auto [client, is_new] = server->second.try_emplace(id, last_request_ + 1);
  if (!is_new) {
    event.server->Drop(absl::InvalidArgumentError("scheduler: a live request id came again"));
    return;
  }
  ++last_request_;
  event.request.id = last_request_;
  routes_.emplace(last_request_, Route{event.server, id});
  scheduler_.SubmitRequest(std::move(event.request), now);
}

void SchedulerLoop::OnDropped(const RequestDropped& event) {
  event.server->Consumed();
  const auto server = servers_.find(event.server);
  if (server == servers_.end()) return;
  const auto client = server->second.find(event.id);
  if (client == server->second.end()) return;  // it has just ended: normal
  scheduler_.Cancel(client->second);
  routes_.erase(client->second);
  server->second.erase(client);
}

void SchedulerLoop::OnGone(const ServerGone& event) {
  if (event.server->dropped()) ++peers_dropped_;
  const auto server = servers_.find(event.server);
  if (server == servers_.end()) return;
  for (const auto& [id, request] : server->second) {
    scheduler_.Cancel(request);
    routes_.erase(request);
  }
  servers_.erase(server);
}

void SchedulerLoop::OnReply(RankReplied event, absl::Time now) {
  const auto index = static_cast<size_t>(event.group);
  WorkerGroup& group = groups_[index];
  const WorkerGroup::Progress progress = group.OnReply(std::move(event), now);
  NoteDown(index, now);
  if (progress.all_ready) {
    group.Accept(scheduler_.GroupUp(static_cast<int>(index), group.shape(), now), now);
    told_up_[index] = group.up();
    published_at_ = absl::InfinitePast();  // health must not wait
  }
  if (!progress.by_rank.empty()) {
    scheduler_.StepDone(static_cast<int>(index), progress.by_rank, now);
  }
}

void SchedulerLoop::OnClosed(const RankClosed& event, absl::Time now) {
  const auto index = static_cast<size_t>(event.group);
  groups_[index].OnClosed(event, now);
  NoteDown(index, now);
}

void SchedulerLoop::Tick(absl::Time now) {
  for (size_t i = 0; i < groups_.size(); ++i) {
    groups_[i].Tick(now);
    NoteDown(i, now);
  }
}

void SchedulerLoop::NoteDown(size_t group, absl::Time now) {
  if (!told_up_[group] || groups_[group].up()) return;
  told_up_[group] = false;
  scheduler_.GroupDown(static_cast<int>(group), now);
  published_at_ = absl::InfinitePast();
  dirty_ = true;
}

void SchedulerLoop::RunCore(absl::Time now) {
  for (int i = 0; i < kPlansPerRound; ++i) {
    Actions actions = scheduler_.RunOnce(now);
    for (const GroupPlan& plan : actions.plans) {
      groups_[static_cast<size_t>(plan.group)].Submit(plan.plan, now);
    }
    for (TokenEvent& event : actions.events) Deliver(std::move(event));
    if (!actions.plans.empty() || !actions.events.empty()) dirty_ = true;
    if (actions.plans.empty()) break;
  }
  for (const auto& server : touched_) server->Flush();
  touched_.clear();
}

void SchedulerLoop::Deliver(TokenEvent event) {
  const auto route = routes_.find(event.request);
  if (route == routes_.end()) {
    ++stale_messages_;
    return;
  }
  if (absl::IsInternal(event.status)) {
    spdlog::error("scheduler: request {} failed: {}", event.request,
                  std::string(event.status.message()));
  }
  const bool last = event.finish != FinishReason::kNone;
  const std::shared_ptr<AttachStream> server = route->second.server;
  event.request = route->second.id;
  server->Append(event);
  touched_.insert(server);
  if (!last) return;
  servers_[server].erase(route->second.id);
  routes_.erase(route);
}

SchedulerStats SchedulerLoop::Collect() const {
  SchedulerStats stats = scheduler_.Stats();
  stats.servers_attached = servers_.size();
  stats.peers_dropped = peers_dropped_;
  stats.stale_messages += stale_messages_;
  uint64_t steps = 0;
  for (const WorkerGroup& group : groups_) {
    stats.stale_messages += group.stale_messages();
    steps += group.steps_in_flight();
  }
  for (RankStats& rank : stats.ranks) {
    rank.queues = groups_[static_cast<size_t>(rank.group)].Queues(rank.rank);
  }
  QueueStats unsent{.name = "unsent_events"};  // of all servers
  for (const auto& [server, clients] : servers_) {
    const QueueStats of_one = server->Unsent();
    unsent.size += of_one.size;
    unsent.limit += of_one.limit;
  }
  stats.queues = {
      {"inbox", inbox_->size(), inbox_->limit()},
      {"steps_in_flight", steps,
       groups_.size() * static_cast<uint64_t>(options_.scheduler.steps_in_flight)},
      {"waiting", stats.requests_waiting, stats.requests_waiting_limit},
      std::move(unsent),
  };
  return stats;
}

void SchedulerLoop::Publish(absl::Time now) {
  if (!dirty_ || now - published_at_ < kPublishEvery) return;
  dirty_ = false;
  published_at_ = now;
  SchedulerStats stats = Collect();
  internal::Load load;
  ToWire(stats, load);
  for (const auto& [server, clients] : servers_) server->SendLoad(load);
  std::lock_guard lock(stats_mutex_);
  stats_ = std::move(stats);
}

SchedulerStats SchedulerLoop::Stats() const {
  std::lock_guard lock(stats_mutex_);
  return stats_;
}

}  // namespace headgate
