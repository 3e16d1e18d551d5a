// The worker's step thread: loads the model at the first Init, meets the other ranks of each epoch,
// and submits the plans of the newest epoch's stream as they come, so that a device has the next
// step before it ends the last. Owns the Worker.
//
// Run() belongs to one thread; Progress() may be called from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "worker/shell/run_stream.h"
#include "worker/shell/step_event.h"
#include "worker/worker.h"

namespace headgate {

struct StepLoopOptions {
  WorkerOptions worker;            // rank and ranks come with Init
  std::string host = "127.0.0.1";  // where this rank listens for its peers
  absl::Duration meet_timeout = absl::Seconds(120);
  absl::Duration collective_timeout = absl::Seconds(30);
  bool hang_on_peer_loss = false;  // tests: behave like NCCL when a peer dies
  // Called on the step thread when the process should log the cause and end: UNAVAILABLE, a peer is
  // gone (after an error no collective can be used again); INTERNAL, pages are not accounted for;
  // other codes, the model cannot be loaded. If it returns, the loop ends.
  std::function<void(const absl::Status&)> on_fatal;
};

struct WorkerProgress {
  uint64_t steps = 0;     // done since the process began
  absl::Duration busy;    // how long the oldest step in flight has run; zero = idle
  bool loaded = false;    // the model is in memory
  bool in_epoch = false;  // a scheduler's stream is being served
};

class StepLoop {
 public:
  StepLoop(StepLoopOptions options, std::shared_ptr<StepInbox> inbox);

  // Returns when the inbox is closed, or after on_fatal.
  void Run();

  WorkerProgress Progress() const;

 private:
  void Handle(EpochOpened event);
  void Handle(PlanArrived event);
  void Handle(EpochClosed event);
  void HandleIdle();

  // Waits for the oldest step in flight and sends its result.
  void Finish();
  // The epoch ends with an error of the worker.
  void EndEpoch(const absl::Status& why);

  // What Init asks for: worker loaded, ranks met. The stream hears how far it is.
  absl::Status Open(const EpochOpened& event);
  absl::Status LoadWorker(const EpochOpened& event);
  absl::StatusOr<std::unique_ptr<Collective>> MeetPeers(const EpochOpened& event) const;
  void Leave();
  void Fail(const absl::Status& why);

  const StepLoopOptions options_;
  const std::shared_ptr<StepInbox> inbox_;
  std::unique_ptr<Worker> worker_;
  int rank_ = -1;  // of worker_
  int ranks_ = 0;
  std::shared_ptr<RunStream> stream_;  // of the epoch being served; null = none
  Epoch newest_epoch_ = 0;
  bool checked_ = true;  // pages were checked since the last step
  bool ended_ = false;

  std::atomic<uint64_t> steps_{0};
  std::atomic<int64_t> busy_since_ns_{0};  // 0 = idle
  std::atomic<bool> loaded_{false};
  std::atomic<bool> in_epoch_{false};
};

}  // namespace headgate
