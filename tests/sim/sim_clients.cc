// The clients of a run: bursts, cancels, deadlines, replays, nonsense. See simulation.h.
#include <algorithm>
#include <utility>

#include "tests/sim/simulation.h"
#include "tests/sim/token_oracle.h"

namespace headgate::sim {

void Simulation::Arrive() {
  const int64_t burst = std::min(arrivals_left_, random_.Between(1, config_.burst_max));
  for (int64_t i = 0; i < burst; ++i) {
    bool invalid = false;
    Request request = DrawRequest(invalid);
    absl::Time deadline = absl::InfiniteFuture();
    if (random_.Chance(config_.deadlines)) {
      deadline = Now() + absl::Microseconds(random_.Between(0, 3'000'000));
    }
    request.deadline = deadline;
    SubmitClient(std::move(request), deadline, invalid);
  }
  arrivals_left_ -= burst;
  if (random_.Chance(config_.cancels)) scheduler_.Cancel(1'000'000);  // nobody
  if (arrivals_left_ == 0) return;
  events_.Push(now_us_ + random_.Between(0, config_.arrival_us_max), EventKind::kArrive);
}

Request Simulation::DrawRequest(bool& invalid) {
  const int64_t vocab = config_.groups[0].vocab;
  Request request;
  int64_t prompt = random_.Between(1, config_.prompt_max);
  request.max_tokens = random_.Between(1, config_.output_max);
  if (config_.flood) {
    const bool giant = random_.Chance(30);
    prompt = giant ? config_.prompt_max : random_.Between(1, 4);
    request.max_tokens = giant ? config_.output_max : random_.Between(1, 4);
  }
  for (int64_t i = 0; i < prompt; ++i) {
    request.prompt.push_back(static_cast<TokenId>(random_.Between(0, vocab - 1)));
  }
  for (int64_t i = random_.Between(0, 2); i > 0; --i) {
    request.stop_tokens.push_back(static_cast<TokenId>(random_.Between(0, vocab - 1)));
  }
  if (random_.Chance(config_.priorities)) {
    request.priority = static_cast<int32_t>(random_.Between(-2, 2));
  }
  if (random_.Chance(config_.scores)) {
    request.score = true;
    if (random_.Chance(500)) request.max_tokens = 0;
  }
  if (!random_.Chance(config_.invalid)) return request;
  invalid = true;
  switch (random_.Between(0, 3)) {
    case 0:
      request.prompt.clear();
      break;
    case 1:
      request.prompt.back() = random_.Chance(500) ? -1 : static_cast<TokenId>(vocab);
      break;
    case 2:
      request.max_tokens = -random_.Between(1, 5);
      break;
    default:
      request.prompt.assign(1001, 0);
  }
  return request;
}

void Simulation::SubmitClient(Request request, absl::Time deadline, bool invalid) {
  const absl::Time kept = std::min(deadline, Now() + config_.scheduler.deadline_max);
  const Client& client = book_.Add(std::move(request), kept, invalid);
  const RequestId id = client.request.id;
  scheduler_.SubmitRequest(client.request, Now());
  // Most of them hit while the request lives; some while it waits.
  if (random_.Chance(config_.cancels)) {
    events_.Push(now_us_ + random_.Between(0, 1'000'000), EventKind::kCancel, 0, id);
  }
  if (random_.Chance(config_.replays)) {
    events_.Push(now_us_ + random_.Between(0, 1'000'000), EventKind::kReplay, 0, id);
  }
}

void Simulation::ForgetClient(RequestId id) {
  Client& client = *book_.Find(id);
  scheduler_.Cancel(id);  // also when it has ended: the server may not know yet
  if (client.live) book_.Drop(client);
}

void Simulation::ReplayClient(RequestId id) {
  const Client client = *book_.Find(id);  // the book grows below
  if (!client.live || client.invalid) return;
  ForgetClient(id);
  Request request = client.request;
  request.emitted = client.received;
  request.deadline = client.deadline;
  SubmitClient(std::move(request), client.deadline, false);
}

}  // namespace headgate::sim
