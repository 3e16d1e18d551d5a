#include "scheduler/shell/attach_stream.h"

#include <utility>

#include "base/status_macros.h"
#include "proto/link.h"
#include "proto/wire.h"

namespace headgate {

AttachStream::Reactor* AttachStream::Accept(grpc::CallbackServerContext* context,
                                            std::shared_ptr<ShellInbox> inbox,
                                            const std::string& model, const AttachLimits& limits,
                                            std::shared_ptr<const int> slot) {
  std::shared_ptr<AttachStream> stream(
      new AttachStream(context, std::move(inbox), model, limits, std::move(slot)));
  std::lock_guard lock(stream->mutex_);
  stream->self_ = stream;
  stream->StartRead(&stream->incoming_);
  return stream.get();
}

AttachStream::AttachStream(grpc::CallbackServerContext* context, std::shared_ptr<ShellInbox> inbox,
                           std::string model, const AttachLimits& limits,
                           std::shared_ptr<const int> slot)
    : context_(context),
      inbox_(std::move(inbox)),
      model_(std::move(model)),
      limits_(limits),
      slot_(std::move(slot)) {}

void AttachStream::SendWelcome(const internal::Welcome& welcome) {
  std::lock_guard lock(mutex_);
  welcome_ = welcome;
  welcome_unsent_ = true;
  WriteLocked();
}

void AttachStream::SendLoad(const internal::Load& load) {
  std::lock_guard lock(mutex_);
  load_ = load;
  load_unsent_ = true;
  WriteLocked();
}

void AttachStream::Append(const TokenEvent& event) {
  std::lock_guard lock(mutex_);
  if (finish_wanted_) return;
  if (unsent_.events_size() >= limits_.unsent_limit) {
    DropLocked(absl::ResourceExhaustedError("scheduler: this server does not read its events"));
    context_->TryCancel();
    return;
  }
  ToWire(event, *unsent_.add_events());
}

void AttachStream::Flush() {
  std::lock_guard lock(mutex_);
  WriteLocked();
}

void AttachStream::Consumed() {
  std::lock_guard lock(mutex_);
  --unread_;
  if (!reading_paused_ || finish_wanted_) return;
  reading_paused_ = false;
  StartRead(&incoming_);
}

void AttachStream::Drop(const absl::Status& why) {
  std::lock_guard lock(mutex_);
  DropLocked(why);
}

bool AttachStream::dropped() const {
  std::lock_guard lock(mutex_);
  return dropped_;
}

QueueStats AttachStream::Unsent() const {
  std::lock_guard lock(mutex_);
  return {"unsent_events", static_cast<uint64_t>(unsent_.events_size()),
          static_cast<uint64_t>(limits_.unsent_limit)};
}

void AttachStream::OnReadDone(bool ok) {
  std::lock_guard lock(mutex_);
  if (!ok) return FinishLocked(absl::OkStatus());
  if (const absl::Status status = HandleLocked(incoming_); !status.ok()) return DropLocked(status);
  if (finish_wanted_) return;
  if (unread_ < limits_.unread_limit) {
    StartRead(&incoming_);
  } else {
    reading_paused_ = true;
  }
}

absl::Status AttachStream::PushLocked(ShellEvent event) {
  ++unread_;
  return inbox_->TryPush(std::move(event));
}

absl::Status AttachStream::HandleLocked(const internal::ServerMessage& message) {
  using Kind = internal::ServerMessage::KindCase;
  if (!greeted_) {
    if (message.kind_case() != Kind::kHello) {
      return absl::InvalidArgumentError("scheduler: the first message must be Hello");
    }
    const std::string& model = message.hello().model();
    if (!model_.empty() && !model.empty() && model != model_) {
      return absl::FailedPreconditionError(
          "scheduler: this server was started for another model; start both with the same one");
    }
    greeted_ = true;
    return PushLocked(ServerAttached{self_});
  }
  if (message.kind_case() == Kind::kRequest) {
    ASSIGN_OR_RETURN(Request request, FromWire(message.request(), absl::Now()));
    return PushLocked(RequestArrived{self_, std::move(request)});
  }
  if (message.kind_case() == Kind::kCancel) {
    return PushLocked(RequestDropped{self_, message.cancel().id()});
  }
  return absl::InvalidArgumentError("scheduler: message must be a request or a cancel");
}

void AttachStream::OnWriteDone(bool ok) {
  std::lock_guard lock(mutex_);
  writing_ = false;
  if (!ok) FinishLocked(absl::CancelledError("scheduler: the server is gone"));
  if (finish_wanted_) {
    FinishLocked(finish_status_);
  } else {
    WriteLocked();
  }
}

void AttachStream::OnCancel() {
  std::lock_guard lock(mutex_);
  FinishLocked(absl::CancelledError("scheduler: the server is gone"));
}

void AttachStream::OnDone() {
  std::shared_ptr<AttachStream> self;
  {
    std::lock_guard lock(mutex_);  // whoever ended it has let go of it
    self = std::move(self_);
  }
  // Fails only when the loop has stopped: then nobody needs to know.
  if (greeted_) inbox_->TryPush(ServerGone{self}).IgnoreError();
}

void AttachStream::WriteLocked() {
  if (writing_ || finish_wanted_) return;
  outgoing_.Clear();
  if (welcome_unsent_) {
    *outgoing_.mutable_welcome() = welcome_;
    welcome_unsent_ = false;
  } else if (unsent_.events_size() > 0) {
    outgoing_.mutable_tokens()->Swap(&unsent_);
    unsent_.Clear();
  } else if (load_unsent_) {
    *outgoing_.mutable_load() = load_;
    load_unsent_ = false;
  } else {
    return;
  }
  writing_ = true;
  StartWrite(&outgoing_);
}

void AttachStream::DropLocked(const absl::Status& why) {
  dropped_ = true;
  FinishLocked(why);
}

void AttachStream::FinishLocked(const absl::Status& status) {
  if (!finish_wanted_) {
    finish_wanted_ = true;
    finish_status_ = status;
  }
  if (writing_ || finished_) return;
  finished_ = true;
  Finish(ToGrpc(finish_status_));
}

}  // namespace headgate
