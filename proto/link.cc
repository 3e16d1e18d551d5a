#include "proto/link.h"

#include <grpcpp/resource_quota.h>

#include <optional>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "base/host_port.h"

namespace headgate {
namespace {

constexpr int kPublicMessageBytesMax = 8 << 20;     // beside it: a byte cap on the prompt
constexpr int kInternalMessageBytesMax = 64 << 20;  // a replay: prompt and emitted tokens
constexpr int kStreamsPerConnectionMax = 100;
constexpr int kHandshakeMs = 10'000;
constexpr size_t kPublicMemoryBytesMax = size_t{1} << 30;
constexpr int kThreadsMax = 64;
constexpr size_t kUnixPathMax = 107;

void SetKeepalive(grpc::ServerBuilder& builder, int time_ms, int timeout_ms, int permit_ms) {
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, time_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, timeout_ms);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, permit_ms);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MAX_PING_STRIKES, 2);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
}

bool IsUnix(const std::string& address) {
  return absl::StartsWith(address, "unix:") || absl::StartsWith(address, "unix-abstract:");
}

void SetPublicLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kPublicMessageBytesMax + (1 << 16));
  builder.AddChannelArgument(GRPC_ARG_MAX_METADATA_SIZE, 8 << 10);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_IDLE_MS, 5 * 60'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_MS, 30 * 60'000);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, 10 * 60'000);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);  // a taken port is an error
  SetKeepalive(builder, 30'000, 10'000, 20'000);
  grpc::ResourceQuota quota("public");
  quota.Resize(kPublicMemoryBytesMax);
  quota.SetMaxThreads(kThreadsMax);
  builder.SetResourceQuota(quota);
}

void SetInternalLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kInternalMessageBytesMax);
  builder.SetMaxSendMessageSize(kInternalMessageBytesMax);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kStreamsPerConnectionMax);
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
  SetKeepalive(builder, 5'000, 5'000, 1'000);
}

}  // namespace

bool IsLocalAddress(const std::string& address) {
  if (IsUnix(address)) return true;
  const std::optional<HostPort> tcp = ParseHostPort(address);
  if (!tcp.has_value()) return false;
  if (tcp->host == "localhost" || tcp->host == "[::1]") return true;
  // A number, not a name that begins like one.
  return absl::StartsWith(tcp->host, "127.") &&
         tcp->host.find_first_not_of("0123456789.") == std::string::npos;
}

absl::Status CheckAddress(const std::string& address) {
  absl::string_view rest = address;
  if (absl::ConsumePrefix(&rest, "unix:")) {
    if (!rest.empty() && rest.size() <= kUnixPathMax) return absl::OkStatus();
    return absl::InvalidArgumentError(absl::StrCat(
        "address '", address, "': a unix socket's path has 1 to ", kUnixPathMax, " bytes"));
  }
  if (absl::StartsWith(address, "unix-abstract:")) return absl::OkStatus();
  if (!ParseHostPort(address).has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("address '", address, "': give host:port (port 0 to 65535) or unix:/path"));
  }
  return absl::OkStatus();
}

absl::Status CheckMayBePlain(const std::string& address, bool credentials_given) {
  if (absl::Status form = CheckAddress(address); !form.ok()) return form;
  if (credentials_given || IsLocalAddress(address)) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("address '", address,
                   "' can be reached from other machines, which needs TLS; without it give "
                   "127.0.0.1:port, localhost:port or unix:/path"));
}

absl::StatusOr<ListeningServer> Listen(const std::string& role, const std::string& address,
                                       const std::shared_ptr<grpc::ServerCredentials>& credentials,
                                       Callers callers, grpc::Service& service) {
  if (const absl::Status allowed = CheckMayBePlain(address, credentials != nullptr);
      !allowed.ok()) {
    return absl::Status(allowed.code(), absl::StrCat(role, ": ", allowed.message()));
  }
  grpc::ServerBuilder builder;
  if (callers == Callers::kClients) {
    SetPublicLimits(builder);
  } else {
    SetInternalLimits(builder);
  }
  ListeningServer listening;
  builder.AddListeningPort(address,
                           credentials != nullptr ? credentials : grpc::InsecureServerCredentials(),
                           &listening.port);
  builder.RegisterService(&service);
  listening.server = builder.BuildAndStart();
  if (listening.server == nullptr) {
    return absl::UnavailableError(absl::StrCat(role, ": cannot listen on '", address,
                                               "': is it taken, or the folder missing?"));
  }
  if (IsUnix(address)) listening.port = 0;
  return listening;
}

grpc::ChannelArguments InternalChannelArguments() {
  grpc::ChannelArguments args;
  args.SetMaxReceiveMessageSize(kInternalMessageBytesMax);
  args.SetMaxSendMessageSize(kInternalMessageBytesMax);
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 2'000);  // also the time one attempt may take
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 5'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 5'000);
  args.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  args.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // one connection per link, not shared
  return args;
}

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  const absl::StatusCode code =
      status.code() == absl::StatusCode::kUnknown ? absl::StatusCode::kInternal : status.code();
  return {static_cast<grpc::StatusCode>(code), std::string(status.message())};
}

absl::Status FromGrpc(const grpc::Status& status) {
  return absl::Status(static_cast<absl::StatusCode>(status.error_code()), status.error_message());
}

}  // namespace headgate
