// gRPC settings that every role shares: limits of a server, keepalive of a link, and which
// addresses may be used without TLS. docs/api.md repeats the values that a client can meet. Pure
// functions; any thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"

namespace headgate {

// Is `address` a unix socket ("unix:...") or a loopback host:port? Only such an address may be used
// without TLS.
bool IsLocalAddress(const std::string& address);

// INVALID_ARGUMENT unless the address is host:port, unix:/path (at most 107 bytes) or
// unix-abstract:name.
absl::Status CheckAddress(const std::string& address);

// As CheckAddress; and FAILED_PRECONDITION when `credentials_given` is false and the address can be
// reached from outside.
absl::Status CheckMayBePlain(const std::string& address, bool credentials_given);

// Limits of a server that clients from anywhere may call.
void SetPublicLimits(grpc::ServerBuilder& builder);

// Limits of a server that only our own processes call (Attach, Run).
void SetInternalLimits(grpc::ServerBuilder& builder);

// Reconnects within a second, notices a dead or stopped peer by keepalive. The called server must
// use SetInternalLimits, which permits these pings.
grpc::ChannelArguments InternalChannelArguments();

// Never UNKNOWN: the same code and message.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace headgate
