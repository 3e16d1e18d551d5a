#include "scheduler/shell/worker_group.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "proto/link.h"
#include "proto/wire.h"

namespace headgate {
namespace {

constexpr size_t kUnsentPlansMax = 64;  // the scheduler keeps far fewer in flight

// Checks a reply on gRPC's thread, so that the loop only sees base types.
absl::StatusOr<RankReplied> Convert(const internal::WorkerReply& reply) {
  using Kind = internal::WorkerReply::KindCase;
  RankReplied event;
  switch (reply.kind_case()) {
    case Kind::kReady: {
      absl::StatusOr<RankReady> ready = FromWire(reply.ready());
      if (!ready.ok()) return ready.status();
      event.reply = *std::move(ready);
      return event;
    }
    case Kind::kResult: {
      absl::StatusOr<StepResult> result = FromWire(reply.result());
      if (!result.ok()) return result.status();
      event.reply = *std::move(result);
      return event;
    }
    case Kind::kLoading:
      event.reply = RankLoading{};
      return event;
    case Kind::KIND_NOT_SET:
      break;
  }
  return absl::InvalidArgumentError("wire: a worker's reply is empty");
}

}  // namespace

WorkerGroup::WorkerGroup(int index, const std::vector<std::string>& addresses,
                         WorkerGroupOptions options, std::shared_ptr<ShellInbox> inbox)
    : index_(index),
      options_(std::move(options)),
      inbox_(std::move(inbox)),
      backoff_(options_.backoff_min) {
  CHECK(!addresses.empty()) << "group " << index << " has no rank";
  for (const std::string& address : addresses) {
    Rank rank;
    rank.stub = internal::Worker::NewStub(grpc::CreateCustomChannel(
        address, options_.credentials ? options_.credentials : grpc::InsecureChannelCredentials(),
        InternalChannelArguments()));
    ranks_.push_back(std::move(rank));
  }
}

WorkerGroup::~WorkerGroup() {
  for (Rank& rank : ranks_) {
    if (rank.stream) rank.stream->Cancel();
  }
  std::unique_lock lock(open_streams_->mutex);
  open_streams_->none.wait(lock, [this] { return open_streams_->count == 0; });
}

std::string WorkerGroup::RendezvousPath(Epoch epoch) const {
  return absl::StrCat(options_.rendezvous_dir, "/group-", index_, "/epoch-", epoch);
}

void WorkerGroup::Begin(absl::Time now) {
  const Epoch last = epoch_;
  // From the clock, so that a restarted scheduler never repeats an epoch of its former life.
  epoch_ =
      std::max<Epoch>(last + 1, static_cast<Epoch>(std::max<int64_t>(absl::ToUnixMillis(now), 1)));
  phase_ = Phase::kConnecting;
  silent_since_ = now;
  if (!options_.rendezvous_dir.empty()) {
    std::error_code error;
    const std::filesystem::path path = RendezvousPath(epoch_);
    std::filesystem::remove_all(path.parent_path(), error);  // former epochs
    std::filesystem::create_directories(path, error);
    if (error) spdlog::warn("scheduler: cannot make the rendezvous folder of group {}", index_);
  }
  for (int i = 0; i < static_cast<int>(ranks_.size()); ++i) Open(i);
}

void WorkerGroup::Open(int rank_index) {
  Rank& rank = ranks_[static_cast<size_t>(rank_index)];
  rank.ready.reset();
  rank.results.clear();
  rank.queues.clear();
  const auto inbox = inbox_;
  const RankReplied where{index_, rank_index, epoch_, RankLoading{}};
  const auto close = [inbox, where](const absl::Status& status) {
    inbox->TryPush(RankClosed{where.group, where.rank, where.epoch, status}).IgnoreError();
  };
  Stream::Listener listener;
  listener.on_message = [inbox, where, close](const internal::WorkerReply& reply) {
    absl::StatusOr<RankReplied> event = Convert(reply);
    if (!event.ok()) return close(event.status());
    event->group = where.group;
    event->rank = where.rank;
    event->epoch = where.epoch;
    // A full inbox loses a result: the epoch cannot go on.
    if (absl::Status pushed = inbox->TryPush(*std::move(event)); !pushed.ok()) close(pushed);
  };
  listener.on_end = [close, open = open_streams_](const absl::Status& status) {
    close(status);
    std::lock_guard lock(open->mutex);
    --open->count;
    open->none.notify_all();
  };
  {
    std::lock_guard lock(open_streams_->mutex);
    ++open_streams_->count;
  }
  rank.stream = Stream::Start(kUnsentPlansMax, std::move(listener),
                              [&](grpc::ClientContext* context, Stream::Reactor* reactor) {
                                rank.stub->async()->Run(context, reactor);
                              });
  internal::WorkerCommand command;
  internal::Init* init = command.mutable_init();
  init->set_epoch(epoch_);
  init->set_rank(rank_index);
  init->set_ranks(static_cast<int32_t>(ranks_.size()));
  init->set_rendezvous(RendezvousPath(epoch_));
  rank.stream->Send(std::move(command));
}

void WorkerGroup::GiveUp(const absl::Status& why, absl::Time now) {
  spdlog::warn("scheduler: group {} gives up epoch {}: {}", index_, epoch_, why.ToString());
  for (Rank& rank : ranks_) {
    if (rank.stream) rank.stream->Cancel();
    rank.stream.reset();
    rank.ready.reset();
    rank.results.clear();
  }
  in_flight_.clear();
  oldest_since_ = absl::InfiniteFuture();
  phase_ = Phase::kIdle;
  begin_at_ = now + backoff_;
  backoff_ = std::min(backoff_ * 2, options_.backoff_max);
}

std::vector<QueueStats> WorkerGroup::Queues(int rank) const {
  const Rank& of = ranks_[static_cast<size_t>(rank)];
  if (of.stream == nullptr) return {};
  std::vector<QueueStats> queues = {{"unsent_plans", of.stream->queued(), kUnsentPlansMax}};
  for (const QueueStats& told : of.queues) {
    queues.push_back({absl::StrCat("worker_", told.name), told.size, told.limit});
  }
  return queues;
}

void WorkerGroup::Submit(const StepPlan& plan, absl::Time now) {
  CHECK(phase_ == Phase::kUp) << "plan for group " << index_ << ", which is down";
  if (in_flight_.empty()) oldest_since_ = now;
  in_flight_.push_back(plan.step);
  internal::WorkerCommand command;
  ToWire(plan, *command.mutable_plan());
  for (size_t i = 0; i + 1 < ranks_.size(); ++i) ranks_[i].stream->Send(command);
  ranks_.back().stream->Send(std::move(command));
}

WorkerGroup::Progress WorkerGroup::OnReply(RankReplied event, absl::Time now) {
  if (event.epoch != epoch_ || phase_ == Phase::kIdle) {
    ++stale_messages_;
    return {};
  }
  if (std::holds_alternative<RankLoading>(event.reply)) {
    silent_since_ = now;
    return {};
  }
  if (auto* ready = std::get_if<RankReady>(&event.reply)) {
    return OnReady(event.rank, std::move(*ready), now);
  }
  return OnResult(event.rank, std::get<StepResult>(std::move(event.reply)), now);
}

WorkerGroup::Progress WorkerGroup::OnReady(int rank_index, RankReady ready, absl::Time now) {
  Rank& rank = ranks_[static_cast<size_t>(rank_index)];
  if (ready.epoch != epoch_ || phase_ != Phase::kConnecting || rank.ready.has_value()) {
    GiveUp(absl::InternalError("a rank was ready for another epoch, or twice"), now);
    return {};
  }
  silent_since_ = now;
  rank.ready = std::move(ready);
  for (const Rank& other : ranks_) {
    if (!other.ready.has_value()) return {};
  }
  if (const absl::Status agreed = CheckAgreement(); !agreed.ok()) {
    GiveUp(agreed, now);
    return {};
  }
  const RankReady& first = *ranks_.front().ready;
  shape_ = {.epoch = epoch_,
            .page_tokens = first.page_tokens,
            .max_positions = first.max_positions,
            .vocab = first.vocab,
            .ranks = {}};
  for (const Rank& other : ranks_) shape_.ranks.push_back(other.ready->shape);
  phase_ = Phase::kReady;
  return {.all_ready = true, .by_rank = {}};
}

void WorkerGroup::Accept(const absl::Status& verdict, absl::Time now) {
  CHECK(phase_ == Phase::kReady) << "group " << index_ << " is not waiting for a verdict";
  if (!verdict.ok()) {
    return GiveUp(
        absl::Status(verdict.code(), absl::StrCat("the scheduler refuses it: ", verdict.message())),
        now);
  }
  phase_ = Phase::kUp;
  backoff_ = options_.backoff_min;
  spdlog::info("scheduler: group {} is ready with {} ranks, epoch {}", index_, ranks_.size(),
               epoch_);
}

absl::Status WorkerGroup::CheckAgreement() const {
  const RankReady& first = *ranks_.front().ready;
  if (!options_.model.empty() && !first.model.empty() && first.model != options_.model) {
    return absl::FailedPreconditionError(
        "the workers loaded another model than the scheduler was started for");
  }
  for (const Rank& rank : ranks_) {
    if (rank.ready->page_tokens != first.page_tokens ||
        rank.ready->max_positions != first.max_positions || rank.ready->vocab != first.vocab ||
        rank.ready->model != first.model) {
      return absl::FailedPreconditionError(
          "the ranks do not agree on model, vocabulary, positions or page size; start all of them "
          "with the same model folder and options");
    }
  }
  return absl::OkStatus();
}

WorkerGroup::Progress WorkerGroup::OnResult(int rank_index, StepResult result, absl::Time now) {
  Rank& rank = ranks_[static_cast<size_t>(rank_index)];
  if (result.epoch != epoch_) {
    ++stale_messages_;
    return {};
  }
  const size_t place = rank.results.size();
  if (!up() || place >= in_flight_.size() || in_flight_[place] != result.step) {
    GiveUp(absl::InternalError(absl::StrCat("rank ", rank_index, " answered a step not asked for")),
           now);
    return {};
  }
  rank.queues = std::move(result.queues);
  rank.results.push_back(std::move(result));
  for (const Rank& other : ranks_) {
    if (other.results.empty()) return {};
  }
  Progress progress;
  for (Rank& other : ranks_) {
    progress.by_rank.push_back(std::move(other.results.front()));
    other.results.pop_front();
  }
  in_flight_.pop_front();
  oldest_since_ = in_flight_.empty() ? absl::InfiniteFuture() : now;
  return progress;
}

void WorkerGroup::OnClosed(const RankClosed& event, absl::Time now) {
  if (event.epoch != epoch_ || phase_ == Phase::kIdle) return;
  GiveUp(absl::Status(absl::StatusCode::kUnavailable,
                      absl::StrCat("rank ", event.rank, " is gone: ", event.status.message())),
         now);
}

void WorkerGroup::Tick(absl::Time now) {
  if (phase_ == Phase::kIdle && now >= begin_at_) Begin(now);
  if (phase_ == Phase::kUp && now - oldest_since_ >= options_.watchdog) {
    GiveUp(absl::DeadlineExceededError("a step is overdue"), now);
  }
  if (phase_ == Phase::kConnecting && now - silent_since_ >= options_.ready_timeout) {
    GiveUp(absl::DeadlineExceededError("the ranks did not become ready"), now);
  }
}

absl::Time WorkerGroup::NextDeadline() const {
  switch (phase_) {
    case Phase::kIdle:
      return begin_at_;
    case Phase::kConnecting:
      return silent_since_ + options_.ready_timeout;
    case Phase::kReady:
    case Phase::kUp:
      break;
  }
  return oldest_since_ + options_.watchdog;
}

}  // namespace headgate
