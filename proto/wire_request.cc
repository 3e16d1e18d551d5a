// Request and TokenEvent: the link between a server and the scheduler.
#include <algorithm>

#include "base/status_macros.h"
#include "proto/wire.h"
#include "proto/wire_checks.h"

namespace headgate {
namespace {

using wire::CheckFinite;
using wire::CheckRange;
using wire::CheckTokens;

absl::Status CheckEnd(const internal::TokenEvent& in) {
  RETURN_IF_ERROR(CheckRange("event.finish", int64_t{in.finish()},
                             static_cast<int64_t>(FinishReason::kNone),
                             static_cast<int64_t>(FinishReason::kError)));
  RETURN_IF_ERROR(CheckRange("event.status_code", int64_t{in.status_code()}, 0,
                             static_cast<int64_t>(absl::StatusCode::kUnauthenticated)));
  RETURN_IF_ERROR(CheckRange("event.status_message bytes",
                             static_cast<int64_t>(in.status_message().size()), 0,
                             wire::kStatusBytesMax));
  RETURN_IF_ERROR(CheckRange("event.retry_after_ms", in.retry_after_ms(), 0, wire::kRetryMsMax));
  const bool failed = in.finish() == static_cast<int32_t>(FinishReason::kError);
  if (failed != (in.status_code() != 0)) {
    return absl::InvalidArgumentError("wire: event.status_code goes with an error, and only then");
  }
  return absl::OkStatus();
}

}  // namespace

void ToWire(const Request& request, absl::Time now, internal::Request& out) {
  out.Clear();
  out.set_id(request.id);
  out.set_tenant(request.tenant);
  out.set_priority(request.priority);
  out.mutable_prompt()->Add(request.prompt.begin(), request.prompt.end());
  out.mutable_emitted()->Add(request.emitted.begin(), request.emitted.end());
  out.set_max_tokens(request.max_tokens);
  out.mutable_stop_tokens()->Add(request.stop_tokens.begin(), request.stop_tokens.end());
  wire::ToWire(request.sampling, *out.mutable_sampling());
  out.set_score(request.score);
  if (request.deadline != absl::InfiniteFuture()) {
    out.set_deadline_ms(std::clamp(absl::ToInt64Milliseconds(request.deadline - now), int64_t{0},
                                   wire::kDeadlineMsMax));
  }
}

absl::StatusOr<Request> FromWire(const internal::Request& in, absl::Time now) {
  RETURN_IF_ERROR(CheckRange("request.tenant bytes", static_cast<int64_t>(in.tenant().size()), 0,
                             wire::kTenantBytesMax));
  RETURN_IF_ERROR(
      CheckRange("request.prompt size", int64_t{in.prompt_size()}, 1, wire::kTokensMax));
  RETURN_IF_ERROR(CheckTokens("request.prompt", in.prompt(), 0, wire::kTokensMax));
  RETURN_IF_ERROR(CheckTokens("request.emitted", in.emitted(), 0, wire::kTokensMax));
  RETURN_IF_ERROR(CheckTokens("request.stop_tokens", in.stop_tokens(), 0, wire::kStopTokensMax));
  RETURN_IF_ERROR(
      CheckRange("request.max_tokens", in.max_tokens(), in.score() ? 0 : 1, wire::kPositionsMax));
  Request request;
  request.id = in.id();
  request.tenant = in.tenant();
  request.priority = in.priority();
  request.prompt.assign(in.prompt().begin(), in.prompt().end());
  request.emitted.assign(in.emitted().begin(), in.emitted().end());
  request.max_tokens = in.max_tokens();
  request.stop_tokens.assign(in.stop_tokens().begin(), in.stop_tokens().end());
  ASSIGN_OR_RETURN(request.sampling, wire::FromWire(in.sampling()));
  request.score = in.score();
  if (in.has_deadline_ms()) {
    RETURN_IF_ERROR(CheckRange("request.deadline_ms", in.deadline_ms(), 0, wire::kDeadlineMsMax));
    request.deadline = now + absl::Milliseconds(in.deadline_ms());
  }
  return request;
}

void ToWire(const TokenEvent& event, internal::TokenEvent& out) {
  out.Clear();
  out.set_request(event.request);
  out.set_has_token(event.has_token);
  out.set_token_index(event.token_index);
  out.set_token(event.token);
  out.set_logprob(event.logprob);
  wire::ToWire(event.top, *out.mutable_top());
  out.mutable_prompt_logprobs()->Add(event.prompt_logprobs.begin(), event.prompt_logprobs.end());
  out.mutable_prompt_top()->Add(event.prompt_top.begin(), event.prompt_top.end());
  out.set_finish(static_cast<int32_t>(event.finish));
  out.set_status_code(static_cast<int32_t>(event.status.code()));
  const absl::string_view message = event.status.message();
  out.set_status_message(std::string(message.substr(0, wire::kStatusBytesMax)));
  out.set_retry_after_ms(
      std::clamp(absl::ToInt64Milliseconds(event.retry_after), int64_t{0}, wire::kRetryMsMax));
}

absl::StatusOr<TokenEvent> FromWire(const internal::TokenEvent& in) {
  RETURN_IF_ERROR(CheckRange("event.token_index", in.token_index(), 0, wire::kPositionsMax));
  RETURN_IF_ERROR(CheckRange("event.token", int64_t{in.token()}, 0, wire::kTokenMax));
  RETURN_IF_ERROR(CheckFinite("event.logprob", in.logprob()));
  RETURN_IF_ERROR(CheckFinite("event.prompt_logprobs", in.prompt_logprobs()));
  RETURN_IF_ERROR(CheckTokens("event.prompt_top", in.prompt_top(), kNoTarget, wire::kTokensMax));
  if (in.prompt_top_size() != in.prompt_logprobs_size()) {
    return absl::InvalidArgumentError("wire: event.prompt_top is not as long as prompt_logprobs");
  }
  RETURN_IF_ERROR(CheckEnd(in));
  TokenEvent event;
  event.request = in.request();
  event.has_token = in.has_token();
  event.token_index = in.token_index();
  event.token = in.token();
  event.logprob = in.logprob();
  ASSIGN_OR_RETURN(event.top, wire::FromWire(in.top()));
  event.prompt_logprobs.assign(in.prompt_logprobs().begin(), in.prompt_logprobs().end());
  event.prompt_top.assign(in.prompt_top().begin(), in.prompt_top().end());
  event.finish = static_cast<FinishReason>(in.finish());
  event.status = absl::Status(static_cast<absl::StatusCode>(in.status_code()), in.status_message());
  event.retry_after = absl::Milliseconds(in.retry_after_ms());
  return event;
}

}  // namespace headgate
