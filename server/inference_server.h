// A server process: the public gRPC endpoint with health, its link to the scheduler, and the
// threads in between.
//
//   auto server = InferenceServer::Start(options, tokenizer, chat_template);
//   ... server->Stats() from any thread ...
//   server->Drain(grace);   // on SIGTERM
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/stats.h"
#include "server/call_context.h"
#include "server/inference_service.h"

namespace headgate {

struct InferenceServerOptions {
  std::string listen;  // "unix:/path" or host:port; port 0 = any free one
  ServedModel model;
  ServerLimits limits;
  SchedulerLinkOptions scheduler;
  int tokenize_threads = 2;
  size_t tokenize_queue_limit = 256;
  std::shared_ptr<grpc::ServerCredentials> credentials;  // null = plain, for local addresses
};

class InferenceServer final {
 public:
  // `tokenizer` null: prompts are token ids and answers have no text. `chat_template` nullopt = the
  // model has none. INVALID_ARGUMENT for a model without numbers,
  // FAILED_PRECONDITION when a plain address is not local, UNAVAILABLE when the address is taken.
  static absl::StatusOr<std::unique_ptr<InferenceServer>> Start(
      InferenceServerOptions options, std::shared_ptr<const Tokenizer> tokenizer,
      std::optional<ModelTemplate> chat_template);
  // Drains without grace.
  ~InferenceServer();

  int port() const { return port_; }  // 0 for a unix socket
  // Attached to a scheduler that has a ready worker group; what health says.
  bool ready() const { return calls_->link->State().ready; }
  ServerStats Stats() const;

  // Health says NOT_SERVING, new calls are refused, live streams may finish within `grace`. What is
  // left then, or once they have finished, is cancelled within another 0.7 s. Idempotent, not
  // thread safe.
  void Drain(absl::Duration grace);

 private:
  InferenceServer(const InferenceServerOptions& options, PromptEncoder encoder);
  void UpdateHealth();

  const std::string model_name_;
  std::unique_ptr<CallContext> calls_;
  InferenceService service_;
  std::mutex health_mutex_;  // server_ appears while the link already reports
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
  bool drained_ = false;
};

}  // namespace headgate
