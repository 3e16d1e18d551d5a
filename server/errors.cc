#include "server/errors.h"

#include "absl/strings/str_cat.h"
#include "proto/link.h"

namespace headgate {
namespace errors {

ClientError BadMessage() {
  return {absl::InvalidArgumentError("request: not a valid message; every string must be UTF-8"),
          {}};
}

ClientError UnknownModel() {
  return {absl::NotFoundError("model: not served here; ListModels names what is"), {}};
}

ClientError Draining() {
  return {absl::UnavailableError("server: shutting down; try another one"), absl::Milliseconds(1)};
}

ClientError ServerFull() {
  return {absl::UnavailableError("server: too many requests at once; try again later"),
          absl::Seconds(1)};
}

ClientError NotAttached() {
  return {absl::UnavailableError("server: no model is ready; try again later"), absl::Seconds(2)};
}

ClientError SlowReader() {
  return {absl::ResourceExhaustedError("stream: the client does not read what was generated"), {}};
}

ClientError Cancelled() { return {absl::CancelledError("request: cancelled by the client"), {}}; }

ClientError DeadlineExceeded() {
  return {absl::DeadlineExceededError("request: its deadline passed"), {}};
}

ClientError NoChatTemplate() {
  return {absl::InvalidArgumentError("chat: this model has no chat template; send text"), {}};
}

ClientError NoTokenizer(const std::string& field) {
  return {absl::InvalidArgumentError(absl::StrCat(
              field, ": this model has no tokenizer; send tokens.ids, stop by stop_token_ids")),
          {}};
}

ClientError PromptTooLong(int64_t tokens, int64_t tokens_max) {
  return {absl::InvalidArgumentError(absl::StrCat("input: ", tokens, " tokens, the model takes ",
                                                  tokens_max, " with room for an answer")),
          {}};
}

ClientError EmptyPrompt() {
  return {absl::InvalidArgumentError("input: must give at least one token"), {}};
}

ClientError FromScheduler(const TokenEvent& event) {
  switch (event.status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kResourceExhausted:
      return {event.status, event.retry_after};
    case absl::StatusCode::kDeadlineExceeded:
      return DeadlineExceeded();
    case absl::StatusCode::kCancelled:
      return Cancelled();
    case absl::StatusCode::kUnavailable: {
      ClientError error = NotAttached();
      if (event.retry_after > absl::ZeroDuration()) error.retry_after = event.retry_after;
      return error;
    }
    default:
      return {absl::InternalError("server: the request failed; its cause is in the log"), {}};
  }
}

ClientError FromCheck(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return {status, {}};
    case absl::StatusCode::kResourceExhausted:
      return {absl::InvalidArgumentError("input: too hard to tokenize"), {}};
    default:
      return {absl::InternalError("server: the request could not be prepared"), {}};
  }
}

}  // namespace errors

grpc::Status ToGrpc(const ClientError& error, grpc::CallbackServerContext* context) {
  if (error.retry_after > absl::ZeroDuration()) {
    context->AddTrailingMetadata("grpc-retry-pushback-ms",
                                 std::to_string(absl::ToInt64Milliseconds(error.retry_after)));
  }
  return ToGrpc(error.status);
}

}  // namespace headgate
