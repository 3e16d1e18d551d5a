#include "server/scheduler_link.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <utility>

#include "proto/link.h"
#include "proto/wire.h"

namespace headgate {
namespace {

constexpr absl::Duration kExpireEvery = absl::Milliseconds(250);
// The scheduler ends overdue requests itself; this is for one that no longer answers.
constexpr absl::Duration kDeadlineGrace = absl::Milliseconds(500);

TokenEvent EndEvent(RequestId id, absl::Status status) {
  TokenEvent event;
  event.request = id;
  event.finish = FinishReason::kError;
  event.status = std::move(status);
  return event;
}

// The requests and cancels of all live ones, with room for those that come and go while a write
// waits.
size_t UnsentLimit(size_t live_limit) { return 4 * live_limit + 16; }

std::unique_ptr<internal::Scheduler::Stub> MakeStub(const SchedulerLinkOptions& options) {
  return internal::Scheduler::NewStub(grpc::CreateCustomChannel(
      options.address,
      options.credentials ? options.credentials : grpc::InsecureChannelCredentials(),
      InternalChannelArguments()));
}

}  // namespace

SchedulerLink::SchedulerLink(SchedulerLinkOptions options, std::function<void(bool)> on_ready)
    : options_(std::move(options)),
      unsent_limit_(UnsentLimit(options_.live_limit)),
      on_ready_(std::move(on_ready)),
      stub_(MakeStub(options_)),
      backoff_(options_.backoff_min),
      thread_([this] { Run(); }) {}

SchedulerLink::~SchedulerLink() {
  std::unique_lock lock(mutex_);
  stopping_ = true;
  if (stream_ != nullptr) stream_->Cancel();
  wake_.notify_all();
  wake_.wait(lock, [this] { return open_streams_ == 0; });
  lock.unlock();
  thread_.join();
}

RequestId SchedulerLink::NewId() {
  std::lock_guard lock(mutex_);
  return ++last_id_;
}

absl::Status SchedulerLink::Submit(Request request, std::shared_ptr<TokenSink> sink) {
  const absl::Time now = absl::Now();
  std::lock_guard lock(mutex_);
  if (live_.size() >= options_.live_limit || stopping_) {
    return absl::ResourceExhaustedError("server: too many live requests");
  }
  const RequestId id = request.id;
  Live& live = live_[id];
  live.request = std::move(request);
  live.sink = std::move(sink);
  live.give_up_at = now + options_.attach_wait;
  if (attached_) {
    SendLocked(live);
  } else {
    wake_.notify_all();
  }
  return absl::OkStatus();
}

void SchedulerLink::SendLocked(Live& live) {
  internal::ServerMessage message;
  ToWire(live.request, absl::Now(), *message.mutable_request());
  if (!stream_->Send(std::move(message))) return BreakLocked();
  if (live.sent) ++counters_.replays;
  live.sent = true;
}

void SchedulerLink::Cancel(RequestId id) {
  std::lock_guard lock(mutex_);
  const auto live = live_.find(id);
  if (live == live_.end()) return;
  const bool sent = live->second.sent;
  live_.erase(live);
  if (!attached_ || !sent) return;
  internal::ServerMessage message;
  message.mutable_cancel()->set_id(id);
  if (!stream_->Send(std::move(message))) BreakLocked();
}

// The stream is no longer trusted; its end brings the next one.
void SchedulerLink::BreakLocked() {
  if (stream_ != nullptr) stream_->Cancel();
}

SchedulerLinkState SchedulerLink::State() const {
  std::lock_guard lock(mutex_);
  SchedulerLinkState state = counters_;
  state.attached = attached_;
  state.ready = attached_ && counters_.load.groups_ready > 0;
  state.live = live_.size();
  state.live_limit = options_.live_limit;
  state.unsent_limit = unsent_limit_;
  state.unsent = stream_ == nullptr ? 0 : stream_->queued();
  return state;
}

void SchedulerLink::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const absl::Time now = absl::Now();
    if (stream_ == nullptr && now >= reopen_at_) Open(++generation_);
    std::vector<Delivery> expired = ExpireLocked(now);
    if (!expired.empty()) {
      lock.unlock();
      for (const Delivery& delivery : expired) delivery.sink->OnTokenEvent(delivery.event);
      lock.lock();
      continue;
    }
    absl::Time until = absl::InfiniteFuture();
    if (stream_ == nullptr) until = reopen_at_;
    if (!live_.empty()) until = std::min(until, now + kExpireEvery);
    if (until == absl::InfiniteFuture()) {
      wake_.wait(lock);
    } else {
      wake_.wait_until(lock, absl::ToChronoTime(until));
    }
  }
}

// mutex_ is held: callbacks come on other threads and wait for it.
void SchedulerLink::Open(uint64_t generation) {
  Stream::Listener listener;
  listener.on_message = [this, generation](const internal::SchedulerMessage& message) {
    OnMessage(generation, message);
  };
  listener.on_end = [this, generation](const absl::Status& status) { OnEnd(generation, status); };
  ++open_streams_;
  stream_ = Stream::Start(unsent_limit_, std::move(listener),
                          [this](grpc::ClientContext* context, Stream::Reactor* reactor) {
                            stub_->async()->Attach(context, reactor);
                          });
  internal::ServerMessage message;
  message.mutable_hello()->set_server(options_.server_name);
  message.mutable_hello()->set_model(options_.model);
  stream_->Send(std::move(message));
}

void SchedulerLink::OnMessage(uint64_t generation, const internal::SchedulerMessage& message) {
  using Kind = internal::SchedulerMessage::KindCase;
  switch (message.kind_case()) {
    case Kind::kTokens:
      return OnTokens(generation, message.tokens());
    case Kind::kWelcome: {
      std::lock_guard lock(mutex_);
      if (generation != generation_ || attached_) return;
      attached_ = true;
      backoff_ = options_.backoff_min;
      for (auto& [id, live] : live_) SendLocked(live);
      return;
    }
    case Kind::kLoad: {
      {
        std::lock_guard lock(mutex_);
        if (generation != generation_) return;
        counters_.load = FromWire(message.load());
      }
      return TellReady();
    }
    case Kind::KIND_NOT_SET:
      break;
  }
  std::lock_guard lock(mutex_);
  if (generation == generation_) BreakLocked();
}

void SchedulerLink::OnTokens(uint64_t generation, const internal::TokenBatch& batch) {
  std::vector<Delivery> deliveries;
  deliveries.reserve(static_cast<size_t>(batch.events_size()));
  {
    std::lock_guard lock(mutex_);
    if (generation != generation_) return;
    for (const internal::TokenEvent& wire_event : batch.events()) {
      absl::StatusOr<TokenEvent> event = FromWire(wire_event);
      if (!event.ok()) {
        spdlog::error("server: the scheduler sent a malformed event; attaching again");
        BreakLocked();
        break;
      }
      RouteLocked(*std::move(event), deliveries);
    }
  }
  for (const Delivery& delivery : deliveries) delivery.sink->OnTokenEvent(delivery.event);
}

void SchedulerLink::RouteLocked(TokenEvent event, std::vector<Delivery>& out) {
  const auto found = live_.find(event.request);
  if (found == live_.end()) {
    ++counters_.stale_messages;  // cancelled or ended meanwhile
    return;
  }
  Live& live = found->second;
  if (event.has_token) {
    const auto next = static_cast<int64_t>(live.request.emitted.size());
    if (event.token_index < next) {
      ++counters_.stale_messages;
      if (event.finish == FinishReason::kNone) return;
      event.has_token = false;  // the end that comes with it still counts
    } else if (event.token_index > next) {
      spdlog::error("server: the scheduler left out a token; attaching again");
      return BreakLocked();
    } else {
      live.request.emitted.push_back(event.token);
    }
  }
  out.push_back({live.sink, std::move(event)});
  if (out.back().event.finish != FinishReason::kNone) live_.erase(found);
}

void SchedulerLink::OnEnd(uint64_t generation, const absl::Status& status) {
  {
    std::lock_guard lock(mutex_);
    if (generation == generation_) {
      const absl::Time now = absl::Now();
      if (attached_) {
        ++counters_.reconnects;
        for (auto& [id, live] : live_) live.give_up_at = now + options_.replay_wait;
        if (!stopping_) {
          spdlog::warn("server: lost the scheduler ({}); attaching again",
                       absl::StatusCodeToString(status.code()));
        }
      }
      attached_ = false;
      stream_.reset();
      counters_.load = SchedulerStats();
      reopen_at_ = now + backoff_;
      backoff_ = std::min(backoff_ * 2, options_.backoff_max);
    }
  }
  TellReady();
  std::lock_guard lock(mutex_);
  --open_streams_;
  wake_.notify_all();
}

std::vector<SchedulerLink::Delivery> SchedulerLink::ExpireLocked(absl::Time now) {
  std::vector<Delivery> expired;
  for (auto it = live_.begin(); it != live_.end();) {
    const Live& live = it->second;
    const bool overdue = now >= live.request.deadline + kDeadlineGrace;
    const bool unreachable = !attached_ && now >= live.give_up_at;
    if (!overdue && !unreachable) {
      ++it;
      continue;
    }
    expired.push_back(
        {live.sink, EndEvent(it->first, overdue ? absl::DeadlineExceededError("deadline")
                                                : absl::UnavailableError("no scheduler"))});
    if (attached_ && live.sent) {
      internal::ServerMessage message;
      message.mutable_cancel()->set_id(it->first);
      if (!stream_->Send(std::move(message))) BreakLocked();
    }
    it = live_.erase(it);
  }
  return expired;
}

void SchedulerLink::TellReady() {
  std::lock_guard ready_lock(ready_mutex_);
  const bool ready = State().ready;
  if (ready == told_ready_) return;
  told_ready_ = ready;
  on_ready_(ready);
}

}  // namespace headgate
