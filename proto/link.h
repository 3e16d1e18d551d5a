// What every role does alike with gRPC: listening within limits, keepalive of a link, and which
// addresses may be used without TLS. docs/api.md repeats the values that a client can meet. No
// state; any thread.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

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

// Who may call a server; its limits follow from it.
enum class Callers {
  kClients,   // anybody
  kOwnRoles,  // only our own processes (Attach, Run)
};

struct ListeningServer {
  std::unique_ptr<grpc::Server> server;
  int port = 0;  // the one in use; 0 for a unix socket
};

// Serves `service` at `address` (port 0 = any free one); null credentials = plain. Errors of
// CheckMayBePlain; UNAVAILABLE when the address cannot be listened on. Messages begin with `role`.
// REQUIRES: `service` outlives the server.
absl::StatusOr<ListeningServer> Listen(const std::string& role, const std::string& address,
                                       const std::shared_ptr<grpc::ServerCredentials>& credentials,
                                       Callers callers, grpc::Service& service);

// Reconnects within a second, notices a dead or stopped peer by keepalive. The called server must
// listen for kOwnRoles, which permits these pings.
grpc::ChannelArguments InternalChannelArguments();

// Never UNKNOWN: the same code and message.
grpc::Status ToGrpc(const absl::Status& status);
absl::Status FromGrpc(const grpc::Status& status);

}  // namespace headgate
