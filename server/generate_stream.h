// One Generate call. gRPC's threads, the tokenizing pool and the scheduler link's thread meet here
// under one mutex. Writing: one message at a time; what arrives meanwhile is merged into the next
// one, so that a slow client gets fewer and larger messages, and a client that does not read at all
// is cut off. Thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "headgate/v1/inference.pb.h"
#include "server/call_context.h"
#include "server/errors.h"
#include "server/scheduler_link.h"
#include "server/stop_matcher.h"
#include "server/tokenizer/incremental_detokenizer.h"

namespace headgate {

class GenerateStream final : private grpc::ServerWriteReactor<grpc::ByteBuffer>,
                             public TokenSink,
                             public std::enable_shared_from_this<GenerateStream> {
 public:
  using Reactor = grpc::ServerWriteReactor<grpc::ByteBuffer>;

  // Returns the reactor of a new call. It keeps itself alive until the call is over.
  static Reactor* Accept(grpc::CallbackServerContext* context, const grpc::ByteBuffer* request,
                         CallContext& server);

  void OnTokenEvent(const TokenEvent& event) override;

  // Ends the call when a write has made no progress for too long. False when the call is over.
  bool CheckProgress(absl::Time now);

 private:
  GenerateStream(grpc::CallbackServerContext* context, CallContext& server);

  // Checks the request; tokenizes now, or on the pool when it is large.
  void Begin(const grpc::ByteBuffer& request);
  void EncodeAndSubmit();
  Request MakeRequest(std::vector<TokenId> prompt) const;

  void AddTokenLocked(const TokenEvent& event);
  void AddTextLocked(const std::string& text);
  void CompleteLocked(v1::FinishReason reason);
  void FailLocked(ClientError error);
  void CancelRequestLocked();
  void CountPendingLocked(size_t bytes);
  void ForgetPendingLocked();
  void WriteLocked();

  void OnWriteDone(bool ok) override;
  void OnCancel() override;
  void OnDone() override;

  grpc::CallbackServerContext* const context_;  // valid until Finish was called
  CallContext& server_;
  const absl::Time started_at_;
  v1::GenerateRequest request_;  // written before the first event can come
  std::vector<TokenId> stop_tokens_;
  RequestId id_ = 0;

  std::mutex mutex_;  // every callback of gRPC takes it first
  std::shared_ptr<GenerateStream> self_;
  std::optional<IncrementalDetokenizer> detokenizer_;  // nullopt: answers have no text
  std::optional<StopMatcher> stops_;
  v1::GenerateResponse pending_;
  size_t pending_bytes_ = 0;
  bool pending_any_ = false;
  grpc::ByteBuffer outgoing_;
  std::optional<ClientError> end_;  // how the call ends, once known
  bool submitted_ = false;
  bool writing_ = false;
  bool finished_ = false;  // Finish was called
  bool failed_ = false;    // nothing more is written
  bool stalled_ = false;
  int64_t prompt_tokens_ = 0;
  int64_t output_tokens_ = 0;
  absl::Time last_token_at_;
  absl::Time write_began_at_;
};

}  // namespace headgate
