// A server's Attach stream to the scheduler. Keeps prompt and emitted tokens of every live request;
// when the scheduler is lost it attaches again and replays them, so that a client sees neither gap
// nor repeat. Thread safe.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "absl/container/btree_map.h"
#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/request.h"
#include "base/stats.h"
#include "headgate/internal/cluster.grpc.pb.h"
#include "proto/client_stream.h"

namespace headgate {

// Where the events of one request go: tokens in order, then an end. May not block. Threads differ,
// and an end of the link's own may cross with events under way: a sink ignores what follows an end.
class TokenSink {
 public:
  virtual ~TokenSink() = default;
  virtual void OnTokenEvent(const TokenEvent& event) = 0;
};

struct SchedulerLinkOptions {
  std::string address;      // "unix:/path" or host:port
  std::string server_name;  // unique among the servers of this scheduler
  std::string model;        // empty = any
  size_t live_limit = 1024;
  absl::Duration attach_wait = absl::Seconds(5);   // a new request waits so long for a scheduler
  absl::Duration replay_wait = absl::Seconds(30);  // so long a live one for another scheduler
  absl::Duration backoff_min = absl::Milliseconds(50);
  absl::Duration backoff_max = absl::Seconds(1);
  std::shared_ptr<grpc::ChannelCredentials> credentials;  // null = plain, for local addresses
};

struct SchedulerLinkState {
  bool attached = false;
  bool ready = false;  // attached, and at least one worker group is ready
  size_t live = 0;
  size_t live_limit = 0;
  size_t unsent = 0;  // messages not yet written
  size_t unsent_limit = 0;
  uint64_t reconnects = 0;
  uint64_t replays = 0;
  uint64_t stale_messages = 0;
  SchedulerStats load;  // as the scheduler last told
};

class SchedulerLink final {
 public:
  // `on_ready` hears every change of readiness, on any thread; it may not block.
  SchedulerLink(SchedulerLinkOptions options, std::function<void(bool)> on_ready);
  // Ends the stream. No sink is called afterwards.
  ~SchedulerLink();

  // An id for a request, unique within this link.
  RequestId NewId();

  // RESOURCE_EXHAUSTED at the limit of live requests. Otherwise `sink` gets the request's events,
  // the end (UNAVAILABLE when no scheduler could be reached) included. REQUIRES: request.id is new.
  absl::Status Submit(Request request, std::shared_ptr<TokenSink> sink);

  // No event follows, but one may be under way. Unknown ids are ignored.
  void Cancel(RequestId id);

  SchedulerLinkState State() const;

 private:
  using Stream = ClientStream<internal::ServerMessage, internal::SchedulerMessage>;

  struct Live {
    Request request;
    std::shared_ptr<TokenSink> sink;
    bool sent = false;      // ever
    absl::Time give_up_at;  // while detached
  };
  struct Delivery {
    std::shared_ptr<TokenSink> sink;
    TokenEvent event;
  };

  void Run();
  void Open(uint64_t generation);
  void OnMessage(uint64_t generation, const internal::SchedulerMessage& message);
  void OnTokens(uint64_t generation, const internal::TokenBatch& batch);
  void OnEnd(uint64_t generation, const absl::Status& status);
  // Whether the event is the next of its request; moves it to `out`.
  void RouteLocked(TokenEvent event, std::vector<Delivery>& out);
  void SendLocked(Live& live);
  void BreakLocked();
  std::vector<Delivery> ExpireLocked(absl::Time now);
  void TellReady();

  const SchedulerLinkOptions options_;
  const size_t unsent_limit_;
  const std::function<void(bool)> on_ready_;
  const std::unique_ptr<internal::Scheduler::Stub> stub_;

  mutable std::mutex mutex_;
  std::condition_variable wake_;
  std::shared_ptr<Stream> stream_;  // null while detached and waiting
  uint64_t generation_ = 0;         // of stream_; callbacks of older ones are ignored
  int open_streams_ = 0;            // whose end has not been heard
  bool attached_ = false;
  bool stopping_ = false;
  absl::Time reopen_at_ = absl::InfinitePast();
  absl::Duration backoff_;
  absl::btree_map<RequestId, Live> live_;  // in order of arrival, for replays
  RequestId last_id_ = 0;
  SchedulerLinkState counters_;

  std::mutex ready_mutex_;  // orders on_ready_ calls
  bool told_ready_ = false;
  std::thread thread_;
};

}  // namespace headgate
