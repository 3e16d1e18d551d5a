// The fixed catalogue of what a server says to its clients. User text, paths and internals never
// appear in it. Pure functions.
#pragma once

#include <grpcpp/grpcpp.h>

#include <cstdint>
#include <string>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/request.h"

namespace headgate {

// A status for a client, and when a retry makes sense (zero = the client's choice).
struct ClientError {
  absl::Status status;
  absl::Duration retry_after;
};

namespace errors {

ClientError BadMessage();
ClientError UnknownModel();
ClientError Draining();
ClientError ServerFull();
ClientError NotAttached();
ClientError SlowReader();
ClientError Cancelled();
ClientError DeadlineExceeded();
ClientError NoChatTemplate();
ClientError NoTokenizer(const std::string& field);
ClientError PromptTooLong(int64_t tokens, int64_t tokens_max);
ClientError EmptyPrompt();
// What the scheduler said: its own words for what the client can change, fixed ones for the rest.
ClientError FromScheduler(const TokenEvent& event);
// A status of our own checks (INVALID_ARGUMENT names a field); anything else becomes INTERNAL.
ClientError FromCheck(const absl::Status& status);

}  // namespace errors

// Adds "grpc-retry-pushback-ms" when the error has a retry time.
grpc::Status ToGrpc(const ClientError& error, grpc::CallbackServerContext* context);

}  // namespace headgate
