// The one thread that owns the Scheduler: takes events from the inbox, runs the core, and hands its
// plans to the groups and its token events to the servers. No locks on the way but the inbox's.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/time.h"
#include "base/stats.h"
#include "scheduler/scheduler.h"
#include "scheduler/shell/attach_stream.h"
#include "scheduler/shell/shell_event.h"
#include "scheduler/shell/worker_group.h"

namespace headgate {

struct SchedulerLoopOptions {
  SchedulerConfig scheduler;
  std::string model;
  std::vector<std::vector<std::string>> groups;  // addresses of each group's ranks
  WorkerGroupOptions group;
};

class SchedulerLoop final {
 public:
  SchedulerLoop(SchedulerLoopOptions options, std::shared_ptr<ShellInbox> inbox);

  // Runs until the inbox is closed.
  void Run();

  // Thread safe: a copy that is at most 100 ms old while things change.
  SchedulerStats Stats() const;

 private:
  using Clients = absl::flat_hash_map<uint64_t, RequestId>;  // a server's id -> ours

  struct Route {
    std::shared_ptr<AttachStream> server;
    uint64_t id = 0;
  };

  void Handle(ShellEvent event, absl::Time now);
  void OnAttached(const std::shared_ptr<AttachStream>& server);
  void OnRequest(RequestArrived event, absl::Time now);
  void OnDropped(const RequestDropped& event);
  void OnGone(const ServerGone& event);
  void OnReply(RankReplied event, absl::Time now);
  void OnClosed(const RankClosed& event, absl::Time now);
  void Tick(absl::Time now);
  // Tells the core when a group went down since it was told that it is up.
  void NoteDown(size_t group, absl::Time now);
  void RunCore(absl::Time now);
  void Deliver(TokenEvent event);
  void Publish(absl::Time now);
  SchedulerStats Collect() const;
  internal::Welcome MakeWelcome() const;
  absl::Duration WaitTime(absl::Time now) const;

  const SchedulerLoopOptions options_;
  const std::shared_ptr<ShellInbox> inbox_;
  Scheduler scheduler_;
  std::deque<WorkerGroup> groups_;
  std::vector<bool> told_up_;
  absl::flat_hash_map<std::shared_ptr<AttachStream>, Clients> servers_;
  absl::flat_hash_map<RequestId, Route> routes_;
  absl::flat_hash_set<std::shared_ptr<AttachStream>> touched_;  // have events to flush
  RequestId last_request_ = 0;
  uint64_t stale_messages_ = 0;
  uint64_t peers_dropped_ = 0;
  bool dirty_ = true;
  absl::Time published_at_ = absl::InfinitePast();

  mutable std::mutex stats_mutex_;
  SchedulerStats stats_;
};

}  // namespace headgate
