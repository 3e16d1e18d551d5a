// What every client asked for and has received, and the check of each event against the one right
// stream. Knows nothing of how the scheduler works.
#pragma once

#include <cstdint>
#include <deque>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/request.h"
#include "scheduler/request_table.h"

namespace headgate::sim {

struct Client {
  Request request;
  OrderKey order;
  std::vector<TokenId> received;  // replayed ones included
  uint64_t context = 0;           // of prompt and received
  absl::Time deadline;            // what the scheduler must keep
  bool live = false;
  bool invalid = false;   // a field is wrong: must be refused
  bool tampered = false;  // a worker sent nonsense about it: may end INTERNAL
  int64_t preemptions = 0;
  int64_t live_at_submit = 0;  // live clients when it came, itself counted

  int64_t tokens_max() const {
    return static_cast<int64_t>(request.prompt.size()) + request.max_tokens;
  }
  TokenId TokenAt(int64_t position) const {
    const auto prompt = static_cast<int64_t>(request.prompt.size());
    return position < prompt ? request.prompt[static_cast<size_t>(position)]
                             : received[static_cast<size_t>(position - prompt)];
  }
};

class ClientBook {
 public:
  explicit ClientBook(int64_t vocab) : vocab_(vocab) {}

  // A new client; its request gets the next id, and `seed` is that id so that workers can name it.
  Client& Add(Request request, absl::Time deadline, bool invalid);
  void Drop(Client& client);  // cancelled: nothing may follow
  Client* Find(RequestId id);

  // INTERNAL: the event is not what this client must see. `longest` is the longest sequence that
  // any known group takes, < 0 when none is known.
  absl::Status OnEvent(const TokenEvent& event, absl::Time now, int64_t longest,
                       int64_t waiting_limit);
  // After each RunOnce: nobody lives past a deadline or waits for what can never be.
  absl::Status CheckLive(absl::Time now, int64_t longest) const;

  const std::vector<RequestId>& live() const { return live_; }
  const Client& client(RequestId id) const { return clients_[id - 1]; }
  bool IsOldest(const Client& client) const;
  size_t size() const { return clients_.size(); }

 private:
  absl::Status OnToken(Client& client, const TokenEvent& event);
  absl::Status OnFinish(const Client& client, const TokenEvent& event) const;
  absl::Status OnError(const Client& client, const TokenEvent& event, absl::Time now,
                       int64_t longest, int64_t waiting_limit) const;

  int64_t vocab_;
  std::deque<Client> clients_;  // by id - 1; references stay valid
  std::vector<RequestId> live_;
};

}  // namespace headgate::sim
