#include "tests/sim/client_book.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "tests/sim/token_oracle.h"

namespace headgate::sim {
namespace {

template <typename... Parts>
absl::Status Wrong(const Client& client, const Parts&... parts) {
  return absl::InternalError(absl::StrCat("request ", client.request.id, ": ", parts...));
}

bool Stops(const Request& request, TokenId token) {
  return std::find(request.stop_tokens.begin(), request.stop_tokens.end(), token) !=
         request.stop_tokens.end();
}

}  // namespace

Client& ClientBook::Add(Request request, absl::Time deadline, bool invalid) {
  Client& client = clients_.emplace_back();
  request.id = clients_.size();
  request.sampling.seed = request.id;
  client.order = {request.priority, request.id};
  client.deadline = deadline;
  client.invalid = invalid;
  client.live = true;
  client.received = request.emitted;
  client.context = kEmptyContext;
  for (const TokenId token : request.prompt) client.context = Extend(client.context, token);
  for (const TokenId token : request.emitted) client.context = Extend(client.context, token);
  client.request = std::move(request);
  live_.push_back(client.request.id);
  client.live_at_submit = static_cast<int64_t>(live_.size());
  return client;
}

void ClientBook::Drop(Client& client) {
  client.live = false;
  live_.erase(std::find(live_.begin(), live_.end(), client.request.id));
}

Client* ClientBook::Find(RequestId id) {
  return 1 <= id && id <= clients_.size() ? &clients_[id - 1] : nullptr;
}

bool ClientBook::IsOldest(const Client& client) const {
  return std::none_of(live_.begin(), live_.end(),
                      [&](RequestId id) { return clients_[id - 1].order < client.order; });
}

absl::Status ClientBook::OnEvent(const TokenEvent& event, absl::Time now, int64_t longest,
                                 int64_t waiting_limit) {
  Client* const client = Find(event.request);
  if (client == nullptr) return absl::InternalError("an event names an unknown request");
  if (!client->live) return Wrong(*client, "an event after its end");
  if (event.has_token) RETURN_IF_ERROR(OnToken(*client, event));
  if (event.finish == FinishReason::kNone) {
    if (!event.has_token) return Wrong(*client, "an event that says nothing");
    const auto received = static_cast<int64_t>(client->received.size());
    if (received < client->request.max_tokens && !Stops(client->request, event.token)) {
      return absl::OkStatus();
    }
    return Wrong(*client, "token ", received, " should have ended it");
  }
  RETURN_IF_ERROR(event.finish == FinishReason::kError
                      ? OnError(*client, event, now, longest, waiting_limit)
                      : OnFinish(*client, event));
  Drop(*client);
  return absl::OkStatus();
}

absl::Status ClientBook::OnToken(Client& client, const TokenEvent& event) {
  const auto index = static_cast<int64_t>(client.received.size());
  if (event.token_index != index) {
    return Wrong(client, "token index ", event.token_index, ", expected ", index);
  }
  const TokenId token = NextToken(client.context, index, vocab_);
  if (event.token != token || event.logprob != Logprob(client.context, token)) {
    return Wrong(client, "token ", index, " is ", event.token, ", undisturbed it is ", token);
  }
  client.received.push_back(token);
  client.context = Extend(client.context, token);
  return absl::OkStatus();
}

absl::Status ClientBook::OnFinish(const Client& client, const TokenEvent& event) const {
  const Request& request = client.request;
  const bool stopped = !client.received.empty() && Stops(request, client.received.back());
  const bool full = static_cast<int64_t>(client.received.size()) == request.max_tokens;
  if (client.invalid) return Wrong(client, "an invalid request was served");
  if (event.finish == FinishReason::kStop ? !stopped : !full) {
    return Wrong(client, "finished (", static_cast<int>(event.finish), ") after ",
                 client.received.size(), " of ", request.max_tokens, " tokens");
  }
  if (!request.score) return absl::OkStatus();
  if (event.prompt_logprobs.size() != request.prompt.size() - 1 ||
      event.prompt_top.size() != request.prompt.size() - 1) {
    return Wrong(client, event.prompt_logprobs.size(), " prompt log-probabilities of ",
                 request.prompt.size() - 1);
  }
  uint64_t context = kEmptyContext;
  for (size_t i = 0; i + 1 < request.prompt.size(); ++i) {
    context = Extend(context, request.prompt[i]);
    const auto index = static_cast<int64_t>(i);
    if (event.prompt_logprobs[i] != Logprob(context, request.prompt[i + 1]) ||
        event.prompt_top[i] != NextToken(context, index, vocab_)) {
      return Wrong(client, "prompt log-probability ", i, " is another token's");
    }
  }
  return absl::OkStatus();
}

absl::Status ClientBook::OnError(const Client& client, const TokenEvent& event, absl::Time now,
                                 int64_t longest, int64_t waiting_limit) const {
  switch (event.status.code()) {
    case absl::StatusCode::kInvalidArgument:
      if (client.invalid || (longest >= 0 && client.tokens_max() > longest)) break;
      return Wrong(client, "refused, but it fits: ", event.status.message());
    case absl::StatusCode::kResourceExhausted:
      if (event.retry_after < absl::Milliseconds(100) || event.retry_after > absl::Seconds(30)) {
        return Wrong(client, "retry after ", absl::FormatDuration(event.retry_after));
      }
      if (client.live_at_submit > waiting_limit) break;
      return Wrong(client, "refused with ", client.live_at_submit, " live requests");
    case absl::StatusCode::kDeadlineExceeded:
      if (now >= client.deadline) break;
      return Wrong(client, "deadline came early");
    case absl::StatusCode::kInternal:
      if (client.tampered) break;
      return Wrong(client, "failed without cause: ", event.status.message());
    default:
      return Wrong(client, "unexpected status: ", event.status.ToString());
  }
  return absl::OkStatus();
}

absl::Status ClientBook::CheckLive(absl::Time now, int64_t longest) const {
  for (const RequestId id : live_) {
    const Client& client = clients_[id - 1];
    if (client.deadline <= now) return Wrong(client, "lives past its deadline");
    if (client.invalid && longest >= 0) return Wrong(client, "is invalid and lives");
    if (longest >= 0 && client.tokens_max() > longest) {
      return Wrong(client, "can never fit and lives: ", client.tokens_max(), " of ", longest);
    }
  }
  return absl::OkStatus();
}

}  // namespace headgate::sim
