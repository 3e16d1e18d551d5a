#include "worker/shell/step_loop.h"

#include <spdlog/spdlog.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "worker/collective/gloo.h"
#include "worker/collective/hanging.h"
#include "worker/collective/local.h"
#include "worker/phase_times.h"

namespace headgate {
namespace {

constexpr absl::Duration kIdleCheck = absl::Milliseconds(500);
// How often a running step is looked at: a device tells nobody that it is done.
constexpr absl::Duration kStepCheck = absl::Microseconds(50);

RankReady MakeReady(Epoch epoch, const RankProfile& profile) {
  return {.epoch = epoch,
          .shape = profile.shape,
          .page_tokens = profile.page_tokens,
          .max_positions = profile.max_positions,
          .vocab = profile.vocab,
          .model = profile.model};
}

}  // namespace

StepLoop::StepLoop(StepLoopOptions options, std::shared_ptr<StepInbox> inbox)
    : options_(std::move(options)), inbox_(std::move(inbox)) {}

void StepLoop::Run() {
  while (!ended_) {
    const bool in_flight = worker_ != nullptr && worker_->in_flight() > 0;
    if (in_flight) {
      const absl::StatusOr<bool> ready = worker_->Ready();
      if (!ready.ok()) EndEpoch(ready.status());
      if (ready.ok() && *ready) Finish();
      if (!ready.ok() || *ready) continue;
    }
    std::optional<StepEvent> event = inbox_->Pop(in_flight ? kStepCheck : kIdleCheck);
    if (event.has_value()) {
      std::visit([this](auto&& any) { Handle(std::move(any)); }, *std::move(event));
    } else if (inbox_->closed()) {
      return;
    } else if (!in_flight) {
      HandleIdle();
    }
  }
}

WorkerProgress StepLoop::Progress() const {
  WorkerProgress progress;
  progress.steps = steps_.load(std::memory_order_relaxed);
  const int64_t since = busy_since_ns_.load(std::memory_order_relaxed);
  if (since != 0) progress.busy = absl::Nanoseconds(absl::GetCurrentTimeNanos() - since);
  progress.loaded = loaded_.load(std::memory_order_relaxed);
  progress.in_epoch = in_epoch_.load(std::memory_order_relaxed);
  return progress;
}

void StepLoop::Handle(EpochOpened event) {
  if (event.stream->closed()) return;
  if (event.epoch <= newest_epoch_) {
    return event.stream->End(absl::FailedPreconditionError(
        absl::StrCat("worker: epoch ", event.epoch, " is not newer than ", newest_epoch_)));
  }
  newest_epoch_ = event.epoch;
  if (stream_ != nullptr) {
    stream_->End(absl::AbortedError("worker: a newer epoch began"));
    Leave();
  }
  if (const absl::Status status = Open(event); !status.ok()) {
    event.stream->End(status);
    return;
  }
  stream_ = std::move(event.stream);
  in_epoch_ = true;
  stream_->SendReady(MakeReady(newest_epoch_, worker_->Profile()));
  spdlog::info("worker: rank {} of {} serves epoch {}", rank_, ranks_, newest_epoch_);
}

absl::Status StepLoop::Open(const EpochOpened& event) {
  if (worker_ == nullptr) {
    if (const absl::Status status = LoadWorker(event); !status.ok()) {
      Fail(status);
      return status;
    }
  }
  if (event.rank != rank_ || event.ranks != ranks_) {
    return absl::FailedPreconditionError(
        absl::StrCat("worker: this process holds rank ", rank_, " of ", ranks_,
                     "; restart it to make it rank ", event.rank, " of ", event.ranks));
  }
  event.stream->SendLoading("meeting peers", 0.0);
  ASSIGN_OR_RETURN(std::unique_ptr<Collective> collective, MeetPeers(event));
  const absl::Status begun = worker_->BeginEpoch(event.epoch, std::move(collective));
  if (absl::IsUnavailable(begun)) Fail(begun);
  return begun;
}

absl::Status StepLoop::LoadWorker(const EpochOpened& event) {
  WorkerOptions options = options_.worker;
  options.rank = event.rank;
  options.ranks = event.ranks;
  const absl::Time start = absl::Now();
  PhaseTimes phases("checking options", start);
  ASSIGN_OR_RETURN(worker_, Worker::Create(options, [&](std::string_view phase, double fraction) {
                     phases.Report(phase, absl::Now());
                     event.stream->SendLoading(phase, fraction);
                   }));
  rank_ = event.rank;
  ranks_ = event.ranks;
  loaded_ = true;
  spdlog::info("worker: loaded in {:.1f} s ({}): {}", absl::ToDoubleSeconds(absl::Now() - start),
               phases.ToString(), worker_->Describe());
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Collective>> StepLoop::MeetPeers(const EpochOpened& event) const {
  if (event.ranks == 1) return MakeSoloCollective();
  GlooOptions gloo;
  gloo.rank = event.rank;
  gloo.size = event.ranks;
  gloo.rendezvous = event.rendezvous;
  gloo.epoch = event.epoch;
  gloo.host = options_.host;
  gloo.meet_timeout = options_.meet_timeout;
  gloo.timeout = options_.collective_timeout;
  gloo.cancelled = [&event] { return event.stream->closed(); };
  ASSIGN_OR_RETURN(std::unique_ptr<Collective> collective, MakeGlooCollective(gloo));
  if (!options_.hang_on_peer_loss) return collective;
  return MakeHanging(std::move(collective), nullptr);
}

void StepLoop::Handle(PlanArrived event) {
  if (event.stream != stream_ || stream_->closed()) return;
  while (worker_->in_flight() == Worker::kStepsInFlightMax) Finish();
  if (event.stream != stream_) return;  // that step failed
  if (worker_->in_flight() == 0) busy_since_ns_ = absl::GetCurrentTimeNanos();
  checked_ = false;
  const absl::Status submitted = worker_->Submit(event.plan);
  if (!submitted.ok()) EndEpoch(submitted);
}

void StepLoop::Finish() {
  absl::StatusOr<StepResult> result = worker_->Await();
  busy_since_ns_ = worker_->in_flight() == 0 ? 0 : absl::GetCurrentTimeNanos();
  if (!result.ok()) return EndEpoch(result.status());
  ++steps_;
  stream_->SendResult(*std::move(result));
}

void StepLoop::EndEpoch(const absl::Status& why) {
  stream_->End(why);
  if (absl::IsUnavailable(why)) {
    Fail(why);  // first: leaving a group whose peer is lost may take its time
  } else {
    spdlog::error("worker: epoch {} ends: {}", newest_epoch_, std::string(why.message()));
  }
  Leave();
}

void StepLoop::Handle(EpochClosed event) {
  if (event.stream == stream_) Leave();
}

// Every page must be accounted for; counting them costs too much for every step.
void StepLoop::HandleIdle() {
  if (checked_ || worker_ == nullptr) return;
  checked_ = true;
  if (const absl::Status status = worker_->CheckPages(); !status.ok()) {
    if (stream_ != nullptr) stream_->End(status);
    Fail(status);
  }
}

// All sequences go; the next Init begins anew.
void StepLoop::Leave() {
  worker_->EndEpoch();
  busy_since_ns_ = 0;
  stream_ = nullptr;
  in_epoch_ = false;
}

void StepLoop::Fail(const absl::Status& why) {
  ended_ = true;
  options_.on_fatal(why);
}

}  // namespace headgate
