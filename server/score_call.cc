// Score: log-probabilities of the tokens of a given text. The scheduler answers with one event.
#include <string>
#include <utility>

#include "server/unary_call.h"

namespace headgate {
namespace {

class ScoreCall final : public UnaryCall, public TokenSink {
 public:
  ScoreCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* response, CallContext& server)
      : UnaryCall(context, response, server), id_(server.link->NewId()) {}

  void OnTokenEvent(const TokenEvent& event) override {
    if (event.finish == FinishReason::kNone) return;
    if (event.finish == FinishReason::kError) return Fail(errors::FromScheduler(event));
    if (event.prompt_logprobs.size() + 1 != tokens_.size()) {
      return Fail(errors::FromCheck(absl::InternalError("score: wrong number of values")));
    }
    v1::ScoreResponse answer;
    answer.mutable_token_ids()->Add(tokens_.begin(), tokens_.end());
    answer.mutable_logprobs()->Add(event.prompt_logprobs.begin(), event.prompt_logprobs.end());
    answer.mutable_top_token_ids()->Add(event.prompt_top.begin(), event.prompt_top.end());
    Succeed(answer);
  }

 private:
  google::protobuf::Message& request() override { return request_; }
  const std::string& model_name() const override { return request_.model(); }

  void Work() override {
    absl::StatusOr<std::vector<TokenId>> tokens = server().encoder.Encode(request_);
    if (!tokens.ok()) return Fail(errors::FromCheck(tokens.status()));
    const auto size = static_cast<int64_t>(tokens->size());
    if (size == 0) return Fail(errors::EmptyPrompt());
    if (size > server().model.max_positions) {
      return Fail(errors::PromptTooLong(size, server().model.max_positions));
    }
    tokens_ = *tokens;
    Request request;
    request.id = id_;
    request.prompt = *std::move(tokens);
    request.score = true;
    request.deadline = Deadline();
    server().counters.PromptTokens(size);
    const auto self = std::static_pointer_cast<ScoreCall>(shared_from_this());
    if (!server().link->Submit(std::move(request), self).ok()) Fail(errors::ServerFull());
    if (ended()) server().link->Cancel(id_);  // cancelled between
  }

  void Abandon() override { server().link->Cancel(id_); }

  const RequestId id_;
  v1::ScoreRequest request_;
  std::vector<TokenId> tokens_;  // written before the first event can come
};

}  // namespace

grpc::ServerUnaryReactor* AcceptScore(grpc::CallbackServerContext* context,
                                      const grpc::ByteBuffer& request, grpc::ByteBuffer* response,
                                      CallContext& server) {
  return UnaryCall::Begin(std::make_shared<ScoreCall>(context, response, server), request);
}

}  // namespace headgate
