#include "cli/generate.h"

#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "cli/interrupt_watch.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "headgate/v1/inference.grpc.pb.h"
#include "proto/link.h"

namespace headgate {
namespace {

using HealthResponse = grpc::health::v1::HealthCheckResponse;

constexpr absl::Duration kProgressAfter = absl::Seconds(2);
constexpr absl::Duration kAskAgainAfter = absl::Milliseconds(200);

std::shared_ptr<grpc::Channel> Connect(const std::string& server) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 100);
  args.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 500);
  args.SetMaxReceiveMessageSize(16 << 20);
  return grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), args);
}

// Waits until health says SERVING. UNAVAILABLE when nobody answers or it takes too long.
absl::Status WaitUntilReady(const GenerateOptions& options,
                            const std::shared_ptr<grpc::Channel>& channel,
                            const std::atomic<bool>& interrupted, std::ostream& err) {
  const auto stub = grpc::health::v1::Health::NewStub(channel);
  const absl::Time begin = absl::Now();
  bool told = false;
  // An error gets a line of its own.
  const auto end = [&](absl::Status status) {
    if (told) err << '\n' << std::flush;
    return status;
  };
  while (!interrupted) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(2)));
    HealthResponse response;
    const grpc::Status status = stub->Check(&context, {}, &response);
    const absl::Duration waited = absl::Now() - begin;
    if (status.ok() && response.status() == HealthResponse::SERVING) {
      if (told) err << "ready\n" << std::flush;
      return absl::OkStatus();
    }
    if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) return absl::OkStatus();
    if (!status.ok() && waited >= options.connect_timeout) {
      return end(absl::UnavailableError(
          absl::StrCat("cannot reach ", options.server, "; is `headgate serve` running there?")));
    }
    if (waited >= options.ready_timeout) {
      return end(absl::UnavailableError(absl::StrCat(options.server, " is not ready after ",
                                                     absl::FormatDuration(waited),
                                                     "; look at the log of `headgate serve`")));
    }
    if (!told && waited >= kProgressAfter) {
      err << "waiting until " << options.server << " is ready ... " << std::flush;
      told = true;
    }
    absl::SleepFor(kAskAgainAfter);
  }
  return end(absl::CancelledError("stopped"));
}

v1::GenerateRequest MakeRequest(const GenerateOptions& options) {
  v1::GenerateRequest request;
  request.set_model(options.model);
  if (options.raw) {
    request.set_text(options.prompt);
  } else {
    const auto add = [&request](const std::string& role, const std::string& content) {
      v1::ChatMessage* message = request.mutable_chat()->add_messages();
      message->set_role(role);
      message->set_content(content);
    };
    if (!options.system.empty()) add("system", options.system);
    add("user", options.prompt);
  }
  request.set_max_tokens(options.max_tokens);
  request.mutable_sampling()->set_temperature(options.temperature);
  if (options.top_p) request.mutable_sampling()->set_top_p(*options.top_p);
  if (options.top_k) request.mutable_sampling()->set_top_k(*options.top_k);
  if (options.seed) request.mutable_sampling()->set_seed(*options.seed);
  for (const std::string& stop : options.stop) request.add_stop(stop);
  request.set_ignore_eos(options.ignore_eos);
  return request;
}

// What the user can do about it.
absl::Status Explain(const grpc::Status& status, const GenerateOptions& options, bool begun) {
  const absl::Status plain = FromGrpc(status);
  const auto say = [&plain](const std::string& what) { return absl::Status(plain.code(), what); };
  const std::string message(plain.message());
  switch (plain.code()) {
    case absl::StatusCode::kOk:
      return absl::OkStatus();
    case absl::StatusCode::kCancelled:
      return say("stopped");
    case absl::StatusCode::kInvalidArgument:
      return say(absl::StrCat("the server refused the request: ", message));
    case absl::StatusCode::kNotFound:
      return say("the server has no model of this name; leave out --model-name to use its own");
    case absl::StatusCode::kUnavailable:
      if (begun) return say(absl::StrCat("the answer broke off (", message, "); ask again"));
      return say(absl::StrCat("the server cannot take the request now (", message,
                              "); try again in a few seconds"));
    case absl::StatusCode::kResourceExhausted:
      return say(absl::StrCat("a limit of the server is reached: ", message));
    case absl::StatusCode::kDeadlineExceeded:
      return say(absl::StrCat("no complete answer within ", absl::FormatDuration(options.timeout),
                              "; allow more time or fewer tokens"));
    case absl::StatusCode::kUnauthenticated:
    case absl::StatusCode::kPermissionDenied:
      return say("the server wants a valid key");
    case absl::StatusCode::kUnimplemented:
      return say(absl::StrCat(options.server, " is not a headgate server of this version"));
    default:
      return say(absl::StrCat("the server failed: ", message));
  }
}

absl::Status Print(const v1::GenerateResponse& message, bool json, std::ostream& out) {
  if (!json) {
    out << message.text() << std::flush;
    return absl::OkStatus();
  }
  std::string line;
  google::protobuf::util::JsonPrintOptions print;
  print.preserve_proto_field_names = true;
  if (!google::protobuf::util::MessageToJsonString(message, &line, print).ok()) {
    return absl::InternalError("cannot write the answer as JSON");
  }
  out << line << '\n' << std::flush;
  return absl::OkStatus();
}

}  // namespace

absl::Status RunGenerate(const GenerateOptions& options, std::ostream& out, std::ostream& err) {
  RETURN_IF_ERROR(CheckAddress(options.server));
  std::atomic<bool> interrupted = false;
  std::mutex mutex;
  std::optional<grpc::ClientContext> context;  // guarded by mutex until it is there
  const InterruptWatch watch([&] {  // before gRPC starts threads that would take the signal
    interrupted = true;
    std::lock_guard lock(mutex);
    if (context.has_value()) context->TryCancel();
  });
  const std::shared_ptr<grpc::Channel> channel = Connect(options.server);
  RETURN_IF_ERROR(WaitUntilReady(options, channel, interrupted, err));
  {
    std::lock_guard lock(mutex);
    context.emplace();
    if (interrupted) return absl::CancelledError("stopped");
  }
  context->set_deadline(absl::ToChronoTime(absl::Now() + options.timeout));
  const auto stub = v1::Inference::NewStub(channel);
  const auto reader = stub->Generate(&*context, MakeRequest(options));
  v1::GenerateResponse message;
  char last = '\n';
  bool begun = false;
  while (reader->Read(&message)) {
    begun = true;
    RETURN_IF_ERROR(Print(message, options.json, out));
    if (!message.text().empty()) last = message.text().back();
  }
  const grpc::Status status = reader->Finish();
  if (!options.json && last != '\n') out << '\n' << std::flush;
  if (interrupted) return absl::CancelledError("stopped");
  return Explain(status, options, begun);
}

}  // namespace headgate
