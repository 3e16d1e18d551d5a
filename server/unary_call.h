// A Tokenize or Score call: parse, check, tokenize (on the pool when large), answer once. Gone when
// gRPC says so. Thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <memory>
#include <mutex>
#include <vector>

#include "absl/time/time.h"
#include "headgate/v1/inference.pb.h"
#include "server/call_context.h"
#include "server/errors.h"

namespace headgate {

class UnaryCall : protected grpc::ServerUnaryReactor,
                  public std::enable_shared_from_this<UnaryCall> {
 public:
  // Makes `call` keep itself alive until it is over, and begins it.
  static grpc::ServerUnaryReactor* Begin(std::shared_ptr<UnaryCall> call,
                                         const grpc::ByteBuffer& request);
  ~UnaryCall() override = default;

 protected:
  UnaryCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* response, CallContext& server);

  // The request to parse into; its "model" field is read by model_name.
  virtual google::protobuf::Message& request() = 0;
  virtual const std::string& model_name() const = 0;
  // Runs on gRPC's thread or the pool; ends with Succeed or Fail, now or later.
  virtual void Work() = 0;
  // The client is gone; Fail has been called.
  virtual void Abandon() {}

  void Succeed(const google::protobuf::Message& answer);
  void Fail(ClientError error);
  bool ended() const;

  // Valid while the call has not ended.
  absl::Time Deadline() const { return deadline_; }
  CallContext& server() { return server_; }

 private:
  void OnCancel() override;
  void OnDone() override;
  void Check(const grpc::ByteBuffer& bytes);

  grpc::CallbackServerContext* const context_;
  grpc::ByteBuffer* const response_;
  CallContext& server_;
  const absl::Time started_at_;
  const absl::Time deadline_;

  mutable std::mutex mutex_;  // every callback of gRPC takes it first
  std::shared_ptr<UnaryCall> self_;
  bool ended_ = false;
  absl::Status status_;
};

grpc::ServerUnaryReactor* AcceptTokenize(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer& request,
                                         grpc::ByteBuffer* response, CallContext& server);
grpc::ServerUnaryReactor* AcceptScore(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer& request, grpc::ByteBuffer* response,
                                      CallContext& server);

}  // namespace headgate
