// One server's Attach call, seen from the scheduler. gRPC's threads read from it into the inbox;
// the loop's thread writes to it. Neither side can flood the other: reading stops while the loop
// has `unread_limit` messages of this server to handle, and a server that does not read is dropped.
// Thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "base/request.h"
#include "base/stats.h"
#include "headgate/internal/cluster.pb.h"
#include "scheduler/shell/shell_event.h"

namespace headgate {

struct AttachLimits {
  size_t unread_limit = 64;    // messages of one server that wait for the loop
  int unsent_limit = 1 << 16;  // token events that wait for one server
};

class AttachStream final
    : private grpc::ServerBidiReactor<internal::ServerMessage, internal::SchedulerMessage> {
 public:
  using Reactor = grpc::ServerBidiReactor<internal::ServerMessage, internal::SchedulerMessage>;

  // Returns the reactor of a new call; it keeps itself alive until the call is over, and tells
  // `inbox` first ServerAttached and last ServerGone. `model` empty = any server is welcome. `slot`
  // is held as long as the call lives.
  static Reactor* Accept(grpc::CallbackServerContext* context, std::shared_ptr<ShellInbox> inbox,
                         const std::string& model, const AttachLimits& limits,
                         std::shared_ptr<const int> slot);

  void SendWelcome(const internal::Welcome& welcome);
  // Replaces a load that was not sent yet.
  void SendLoad(const internal::Load& load);
  // Queues; Flush sends all that is queued in one message.
  void Append(const TokenEvent& event);
  void Flush();

  // The loop has handled one message of this server.
  void Consumed();

  // Ends the call at once.
  void Drop(const absl::Status& why);
  bool dropped() const;
  // Events that wait to be sent.
  QueueStats Unsent() const;

 private:
  AttachStream(grpc::CallbackServerContext* context, std::shared_ptr<ShellInbox> inbox,
               std::string model, const AttachLimits& limits, std::shared_ptr<const int> slot);

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  absl::Status HandleLocked(const internal::ServerMessage& message);
  absl::Status PushLocked(ShellEvent event);
  void WriteLocked();
  void DropLocked(const absl::Status& why);
  void FinishLocked(const absl::Status& status);

  grpc::CallbackServerContext* const context_;
  const std::shared_ptr<ShellInbox> inbox_;
  const std::string model_;
  const AttachLimits limits_;
  const std::shared_ptr<const int> slot_;

  mutable std::mutex mutex_;  // every callback of gRPC takes it first
  std::shared_ptr<AttachStream> self_;
  internal::ServerMessage incoming_;
  bool greeted_ = false;
  internal::SchedulerMessage outgoing_;
  internal::TokenBatch unsent_;
  internal::Welcome welcome_;
  internal::Load load_;
  bool welcome_unsent_ = false;
  bool load_unsent_ = false;
  bool writing_ = false;
  bool reading_paused_ = false;
  bool finish_wanted_ = false;
  bool finished_ = false;
  bool dropped_ = false;
  size_t unread_ = 0;
  absl::Status finish_status_;
};

}  // namespace headgate
