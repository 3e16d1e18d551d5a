// One Run call, seen from the worker: gRPC's threads read plans from it into the step loop's inbox,
// the step loop writes results to it. It reads no further while the results of two plans are not
// yet written, so a scheduler that floods or does not read fills no memory. Thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <deque>
#include <memory>
#include <mutex>

#include "absl/status/status.h"
#include "base/step.h"
#include "headgate/internal/cluster.pb.h"
#include "proto/wire.h"
#include "worker/shell/step_event.h"

namespace headgate {

class RunStream final
    : private grpc::ServerBidiReactor<internal::WorkerCommand, internal::WorkerReply> {
 public:
  using Reactor = grpc::ServerBidiReactor<internal::WorkerCommand, internal::WorkerReply>;

  // Returns the reactor of a new call; it keeps itself alive until the call is over. `inbox` hears
  // EpochOpened first and EpochClosed last.
  static Reactor* Accept(grpc::CallbackServerContext* context, std::shared_ptr<StepInbox> inbox);

  // Progress of loading; dropped when the scheduler does not read fast enough.
  void SendLoading(std::string_view phase, double fraction);
  void SendReady(const RankReady& ready);
  // Adds how full the inbox and this stream are.
  void SendResult(StepResult result);

  // Ends the call with a status, after what was sent. The scheduler gives the epoch up.
  void End(const absl::Status& why);

  // The call is over or about to be.
  bool closed() const;

 private:
  explicit RunStream(std::shared_ptr<StepInbox> inbox) : inbox_(std::move(inbox)) {}

  void OnReadDone(bool ok) override;
  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  absl::Status HandleLocked(const internal::WorkerCommand& command);
  void Send(internal::WorkerReply reply);
  void ReadOnLocked();
  void WriteLocked();
  void FinishLocked(const absl::Status& status);

  const std::shared_ptr<StepInbox> inbox_;

  mutable std::mutex mutex_;  // every callback of gRPC takes it first
  std::shared_ptr<RunStream> self_;
  internal::WorkerCommand incoming_;
  Epoch epoch_ = 0;  // 0 before Init
  std::deque<internal::WorkerReply> unsent_;
  internal::WorkerReply outgoing_;
  int unanswered_ = 0;  // plans whose result is not written yet
  bool writing_ = false;
  bool reading_paused_ = false;
  bool finish_wanted_ = false;
  bool finished_ = false;
  absl::Status finish_status_;
};

}  // namespace headgate
