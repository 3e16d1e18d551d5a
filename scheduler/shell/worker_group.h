// One group of ranks as the scheduler's loop sees it: opens a Run stream to every rank with a new
// epoch, waits until all are ready, joins their results per step, and gives the epoch up when a
// stream ends, a result is overdue or a rank says something impossible. Owned by the loop's thread;
// gRPC's threads only put RankReplied and RankClosed into the inbox.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/group_shape.h"
#include "base/stats.h"
#include "base/step.h"
#include "headgate/internal/cluster.grpc.pb.h"
#include "proto/client_stream.h"
#include "scheduler/shell/shell_event.h"

namespace headgate {

struct WorkerGroupOptions {
  std::string rendezvous_dir;  // ranks of one epoch meet in <this>/group-<g>/epoch-<n>
  std::string model;           // empty = whatever the ranks agree on
  absl::Duration watchdog = absl::Seconds(10);      // most time that a step may take
  absl::Duration ready_timeout = absl::Minutes(2);  // most silence before a rank is ready
  absl::Duration backoff_min = absl::Milliseconds(50);
  absl::Duration backoff_max = absl::Seconds(1);
  std::shared_ptr<grpc::ChannelCredentials> credentials;  // null = plain, for local addresses
};

class WorkerGroup final {
 public:
  using Stream = ClientStream<internal::WorkerCommand, internal::WorkerReply>;

  WorkerGroup(int index, const std::vector<std::string>& addresses, WorkerGroupOptions options,
              std::shared_ptr<ShellInbox> inbox);
  // Ends the streams and waits until they are over.
  ~WorkerGroup();

  // All ranks are ready, and the scheduler took the group's shape.
  bool up() const { return phase_ == Phase::kUp; }
  Epoch epoch() const { return epoch_; }
  const GroupShape& shape() const { return shape_; }                        // since all were ready
  const std::string& model() const { return ranks_.front().ready->model; }  // REQUIRES: up()
  uint64_t stale_messages() const { return stale_messages_; }
  size_t steps_in_flight() const { return in_flight_.size(); }
  // Of the link to a rank, and of its process as its last result told: whatever the names are, with
  // "worker_" before them. Empty while there is no link.
  std::vector<QueueStats> Queues(int rank) const;

  // Sends the plan to every rank. A stream that cannot take it ends soon, which is heard of later.
  void Submit(const StepPlan& plan, absl::Time now);

  // What an event may bring: all ranks are ready, or all ranks' results of the oldest step. When
  // the epoch had to be given up, up() is false afterwards.
  struct Progress {
    bool all_ready = false;  // Accept must follow
    std::vector<StepResult> by_rank;
  };
  Progress OnReply(RankReplied event, absl::Time now);
  void OnClosed(const RankClosed& event, absl::Time now);
  // What the scheduler says to shape(): OK, the group is up; else the epoch is given up. REQUIRES:
  // all ranks are ready, and the group is not up yet.
  void Accept(const absl::Status& verdict, absl::Time now);

  // Begins the next epoch when its time has come; gives up what is overdue.
  void Tick(absl::Time now);
  // When Tick is due if nothing happens.
  absl::Time NextDeadline() const;

 private:
  enum class Phase { kIdle, kConnecting, kReady, kUp };

  struct Rank {
    std::unique_ptr<internal::Worker::Stub> stub;
    std::shared_ptr<Stream> stream;
    std::optional<RankReady> ready;
    std::deque<StepResult> results;  // not longer than in_flight_
    std::vector<QueueStats> queues;  // of its last result in this epoch
  };

  // Streams of any epoch whose end has not been heard: the stubs must outlive them.
  struct OpenStreams {
    std::mutex mutex;
    std::condition_variable none;
    int count = 0;
  };

  void Begin(absl::Time now);
  void GiveUp(const absl::Status& why, absl::Time now);
  void Open(int rank_index);
  Progress OnReady(int rank_index, RankReady ready, absl::Time now);
  Progress OnResult(int rank_index, StepResult result, absl::Time now);
  absl::Status CheckAgreement() const;
  std::string RendezvousPath(Epoch epoch) const;

  const int index_;
  const WorkerGroupOptions options_;
  const std::shared_ptr<ShellInbox> inbox_;
  const std::shared_ptr<OpenStreams> open_streams_ = std::make_shared<OpenStreams>();
  std::vector<Rank> ranks_;
  Phase phase_ = Phase::kIdle;
  Epoch epoch_ = 0;
  GroupShape shape_;
  std::deque<StepId> in_flight_;                      // sent, oldest first
  absl::Time oldest_since_ = absl::InfiniteFuture();  // the oldest step waits since then
  absl::Time silent_since_ = absl::InfinitePast();    // while connecting
  absl::Time begin_at_ = absl::InfinitePast();        // while idle
  absl::Duration backoff_;
  uint64_t stale_messages_ = 0;
};

}  // namespace headgate
