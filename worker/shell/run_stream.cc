#include "worker/shell/run_stream.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "proto/link.h"

namespace headgate {
namespace {

constexpr int kUnansweredMax = 2;
// Ready, and the results of the plans that were read. Loading never waits.
constexpr size_t kUnsentMax = 1 + kUnansweredMax;
constexpr int32_t kRanksMax = 64;

absl::Status CheckInit(const internal::Init& init) {
  if (init.epoch() == 0) return absl::InvalidArgumentError("worker: Init without an epoch");
  if (!(1 <= init.ranks() && init.ranks() <= kRanksMax) ||
      !(0 <= init.rank() && init.rank() < init.ranks())) {
    return absl::InvalidArgumentError(
        absl::StrCat("worker: Init for rank ", init.rank(), " of ", init.ranks()));
  }
  return absl::OkStatus();
}

}  // namespace

RunStream::Reactor* RunStream::Accept(grpc::CallbackServerContext*,
                                      std::shared_ptr<StepInbox> inbox) {
  std::shared_ptr<RunStream> stream(new RunStream(std::move(inbox)));
  std::lock_guard lock(stream->mutex_);
  stream->self_ = stream;
  stream->StartRead(&stream->incoming_);
  return stream.get();
}

void RunStream::SendLoading(std::string_view phase, double fraction) {
  internal::WorkerReply reply;
  reply.mutable_loading()->set_phase(std::string(phase));
  reply.mutable_loading()->set_done(fraction);
  std::lock_guard lock(mutex_);
  if (writing_ || finish_wanted_) return;
  unsent_.push_back(std::move(reply));
  WriteLocked();
}

void RunStream::SendReady(const RankReady& ready) {
  internal::WorkerReply reply;
  ToWire(ready, *reply.mutable_ready());
  Send(std::move(reply));
}

void RunStream::SendResult(StepResult result) {
  result.queues.push_back({"inbox", inbox_->size(), inbox_->limit()});
  {
    std::lock_guard lock(mutex_);
    result.queues.push_back({"unsent_replies", unsent_.size() + (writing_ ? 1u : 0u), kUnsentMax});
  }
  internal::WorkerReply reply;
  ToWire(result, *reply.mutable_result());
  Send(std::move(reply));
}

void RunStream::End(const absl::Status& why) {
  std::lock_guard lock(mutex_);
  FinishLocked(why);
}

bool RunStream::closed() const {
  std::lock_guard lock(mutex_);
  return finish_wanted_;
}

void RunStream::OnReadDone(bool ok) {
  std::lock_guard lock(mutex_);
  if (!ok) return FinishLocked(absl::OkStatus());
  if (const absl::Status status = HandleLocked(incoming_); !status.ok()) {
    return FinishLocked(status);
  }
  if (finish_wanted_) return;
  if (unanswered_ < kUnansweredMax) {
    StartRead(&incoming_);
  } else {
    reading_paused_ = true;
  }
}

absl::Status RunStream::HandleLocked(const internal::WorkerCommand& command) {
  using Kind = internal::WorkerCommand::KindCase;
  if (epoch_ == 0) {
    if (command.kind_case() != Kind::kInit) {
      return absl::InvalidArgumentError("worker: the first message must be Init");
    }
    const internal::Init& init = command.init();
    RETURN_IF_ERROR(CheckInit(init));
    epoch_ = init.epoch();
    return inbox_->TryPush(
        EpochOpened{self_, epoch_, init.rank(), init.ranks(), init.rendezvous()});
  }
  if (command.kind_case() != Kind::kPlan) {
    return absl::InvalidArgumentError("worker: only plans may follow Init");
  }
  ASSIGN_OR_RETURN(StepPlan plan, FromWire(command.plan()));
  ++unanswered_;
  return inbox_->TryPush(PlanArrived{self_, std::move(plan)});
}

void RunStream::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) {
    unsent_.clear();
    FinishLocked(absl::CancelledError("worker: the scheduler is gone"));
  }
  if (outgoing_.has_result()) {
    --unanswered_;
    ReadOnLocked();
  }
  WriteLocked();
  if (finish_wanted_) FinishLocked(finish_status_);
}

void RunStream::OnCancel() {
  std::lock_guard lock(mutex_);
  unsent_.clear();
  FinishLocked(absl::CancelledError("worker: the scheduler is gone"));
}

void RunStream::OnDone() {
  std::shared_ptr<RunStream> self;
  {
    std::lock_guard lock(mutex_);  // whoever ended it has let go of it
    self = std::move(self_);
  }
  // Fails only when the step loop has stopped: then nobody needs to know.
  if (epoch_ != 0) inbox_->TryPush(EpochClosed{self}).IgnoreError();
}

void RunStream::Send(internal::WorkerReply reply) {
  std::lock_guard lock(mutex_);
  if (finish_wanted_) return;
  CHECK_LT(unsent_.size(), kUnsentMax) << "a reply that no plan asked for";
  unsent_.push_back(std::move(reply));
  WriteLocked();
}

void RunStream::ReadOnLocked() {
  if (!reading_paused_ || finish_wanted_) return;
  reading_paused_ = false;
  StartRead(&incoming_);
}

void RunStream::WriteLocked() {
  if (writing_ || finished_ || unsent_.empty()) return;
  outgoing_ = std::move(unsent_.front());
  unsent_.pop_front();
  writing_ = true;
  StartWrite(&outgoing_);
}

// Replies that were sent before go out first.
void RunStream::FinishLocked(const absl::Status& status) {
  if (!finish_wanted_) {
    finish_wanted_ = true;
    finish_status_ = status;
  }
  if (writing_ || finished_ || !unsent_.empty()) return;
  finished_ = true;
  Finish(ToGrpc(finish_status_));
}

}  // namespace headgate
