// Tokenize: the tokens of a text or a chat, and the bytes of each.
#include <string>

#include "server/unary_call.h"

namespace headgate {
namespace {

class TokenizeCall final : public UnaryCall {
 public:
  TokenizeCall(grpc::CallbackServerContext* context, grpc::ByteBuffer* response,
               CallContext& server)
      : UnaryCall(context, response, server) {}

 private:
  google::protobuf::Message& request() override { return request_; }
  const std::string& model_name() const override { return request_.model(); }

  void Work() override {
    const absl::StatusOr<std::vector<TokenId>> tokens = server().encoder.Encode(request_);
    if (!tokens.ok()) return Fail(errors::FromCheck(tokens.status()));
    v1::TokenizeResponse answer;
    answer.mutable_token_ids()->Add(tokens->begin(), tokens->end());
    for (TokenId token : *tokens) {
      answer.add_pieces(std::string(server().encoder.tokenizer()->TokenBytes(token)));
    }
    Succeed(answer);
  }

  v1::TokenizeRequest request_;
};

}  // namespace

grpc::ServerUnaryReactor* AcceptTokenize(grpc::CallbackServerContext* context,
                                         const grpc::ByteBuffer& request,
                                         grpc::ByteBuffer* response, CallContext& server) {
  return UnaryCall::Begin(std::make_shared<TokenizeCall>(context, response, server), request);
}

}  // namespace headgate
