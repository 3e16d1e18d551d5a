#include "server/unary_call.h"

#include <utility>

#include "server/validation.h"

namespace headgate {
namespace {

constexpr size_t kInlineBytesMax = 2048;

}  // namespace

UnaryCall::UnaryCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* response,
                     CallContext& server)
    : context_(context),
      response_(response),
      server_(server),
      started_at_(absl::Now()),
      deadline_(server.DeadlineOf(*context)) {}

grpc::ServerUnaryReactor* UnaryCall::Begin(std::shared_ptr<UnaryCall> call,
                                           const grpc::ByteBuffer& request) {
  {
    std::lock_guard lock(call->mutex_);
    call->self_ = call;
  }
  call->server_.counters.Started();
  call->Check(request);
  return call.get();
}

void UnaryCall::Check(const grpc::ByteBuffer& bytes) {
  if (server_.draining) return Fail(errors::Draining());
  if (!ParseMessage(bytes, request())) return Fail(errors::BadMessage());
  const absl::Status valid = Validate(request(), server_.model, server_.limits);
  if (!valid.ok()) return Fail(errors::FromCheck(valid));
  if (!model_name().empty() && model_name() != server_.model.name) {
    return Fail(errors::UnknownModel());
  }
  if (bytes.Length() <= kInlineBytesMax) return Work();
  const absl::Status queued = server_.pool->Run([self = shared_from_this()] {
    if (!self->ended()) self->Work();
  });
  if (!queued.ok()) Fail(errors::ServerFull());
}

void UnaryCall::Succeed(const google::protobuf::Message& answer) {
  std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  *response_ = SerializeMessage(answer);
  Finish(grpc::Status::OK);
}

void UnaryCall::Fail(ClientError error) {
  std::lock_guard lock(mutex_);
  if (ended_) return;
  ended_ = true;
  status_ = error.status;
  Finish(ToGrpc(error, context_));
}

bool UnaryCall::ended() const {
  std::lock_guard lock(mutex_);
  return ended_;
}

void UnaryCall::OnCancel() {
  Fail(errors::Cancelled());
  Abandon();
}

void UnaryCall::OnDone() {
  std::shared_ptr<UnaryCall> self;
  absl::Status status;
  {
    std::lock_guard lock(mutex_);
    self = std::move(self_);
    status = status_;
  }
  server_.counters.Ended(status, absl::Now() - started_at_);
}

}  // namespace headgate
