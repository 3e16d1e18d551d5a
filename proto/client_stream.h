// A bidi call seen from its client: messages go out in order without blocking the caller, messages
// come in on gRPC's threads one at a time, and exactly one end follows. Thread safe.
//
// The last owner of a grpc::Channel must not let go of it on one of gRPC's own threads: the channel
// would wait for that very thread. So whoever opens streams keeps its stub until every on_end was
// called; from then on no stream refers to the channel.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/support/client_callback.h>

#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "proto/link.h"

namespace headgate {

template <typename Out, typename In>
class ClientStream final : private grpc::ClientBidiReactor<Out, In> {
 public:
  using Reactor = grpc::ClientBidiReactor<Out, In>;

  // Called on gRPC's threads: neither may block. on_end comes last and once.
  struct Listener {
    std::function<void(const In&)> on_message;
    std::function<void(const absl::Status&)> on_end;
  };
  // Binds the reactor to a method: [&](auto* context, auto* reactor) { stub.async()->Run(...); }
  using Open = std::function<void(grpc::ClientContext*, Reactor*)>;

  // Keeps itself alive until on_end returned. `queue_limit` counts messages not yet written.
  static std::shared_ptr<ClientStream> Start(size_t queue_limit, Listener listener,
                                             const Open& open) {
    std::shared_ptr<ClientStream> stream(new ClientStream(queue_limit, std::move(listener)));
    {
      std::lock_guard lock(stream->mutex_);
      stream->self_ = stream;
    }
    open(&*stream->context_, stream.get());
    stream->AddHold();
    stream->StartRead(&stream->incoming_);
    stream->StartCall();
    return stream;
  }

  // False when the stream ended or the queue is full; the message is dropped then.
  bool Send(Out message) {
    {
      std::lock_guard lock(mutex_);
      if (ended_ || queue_.size() >= queue_limit_) return false;
      if (writing_) {
        queue_.push_back(std::move(message));
        return true;
      }
      writing_ = true;
      outgoing_ = std::move(message);
    }
    this->StartWrite(&outgoing_);  // writing_ keeps the call alive
    return true;
  }

  // Ends the call soon; on_end follows.
  void Cancel() {
    std::lock_guard lock(mutex_);
    if (context_.has_value()) context_->TryCancel();
  }

  size_t queued() const {
    std::lock_guard lock(mutex_);
    return queue_.size();
  }

 private:
  ClientStream(size_t queue_limit, Listener listener)
      : queue_limit_(queue_limit), listener_(std::move(listener)) {
    context_.emplace();
    context_->set_wait_for_ready(true);
  }

  void OnReadDone(bool ok) override {
    bool last = false;
    {
      std::lock_guard lock(mutex_);
      ended_ = !ok;
      last = ended_ && !writing_;
    }
    if (ok) {
      listener_.on_message(incoming_);
      this->StartRead(&incoming_);
    }
    if (last) this->RemoveHold();
  }

  void OnWriteDone(bool ok) override {
    bool more = false;
    bool last = false;
    {
      std::lock_guard lock(mutex_);
      if (ok && !ended_ && !queue_.empty()) {
        outgoing_ = std::move(queue_.front());
        queue_.pop_front();
        more = true;
      } else {
        writing_ = false;
        last = ended_;
      }
    }
    if (more) this->StartWrite(&outgoing_);
    if (last) this->RemoveHold();
  }

  void OnDone(const grpc::Status& status) override {
    std::shared_ptr<ClientStream> self;  // may be the last owner
    {
      std::lock_guard lock(mutex_);
      self = std::move(self_);
      context_.reset();  // lets go of the channel
    }
    listener_.on_end(FromGrpc(status));
  }

  const size_t queue_limit_;
  const Listener listener_;
  In incoming_;

  mutable std::mutex mutex_;  // every callback of gRPC takes it first
  std::shared_ptr<ClientStream> self_;
  std::optional<grpc::ClientContext> context_;  // until the call is over
  std::deque<Out> queue_;
  Out outgoing_;
  bool writing_ = false;
  bool ended_ = false;
};

}  // namespace headgate
