// headgate.v1.Inference: hands each call to its object. The three methods that carry text take raw
// bytes, so that a string that is not UTF-8 is answered with INVALID_ARGUMENT. Thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include "headgate/v1/inference.grpc.pb.h"
#include "server/call_context.h"

namespace headgate {

using RawInference =
    v1::Inference::WithRawCallbackMethod_Generate<v1::Inference::WithRawCallbackMethod_Score<
        v1::Inference::WithRawCallbackMethod_Tokenize<v1::Inference::WithCallbackMethod_ListModels<
            v1::Inference::WithCallbackMethod_GetLoad<v1::Inference::Service>>>>>;

class InferenceService final : public RawInference {
 public:
  // `server` outlives this and every call.
  explicit InferenceService(CallContext& server) : server_(server) {}

  grpc::ServerWriteReactor<grpc::ByteBuffer>* Generate(grpc::CallbackServerContext* context,
                                                       const grpc::ByteBuffer* request) override;
  grpc::ServerUnaryReactor* Score(grpc::CallbackServerContext* context,
                                  const grpc::ByteBuffer* request,
                                  grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* Tokenize(grpc::CallbackServerContext* context,
                                     const grpc::ByteBuffer* request,
                                     grpc::ByteBuffer* response) override;
  grpc::ServerUnaryReactor* ListModels(grpc::CallbackServerContext* context,
                                       const v1::ListModelsRequest* request,
                                       v1::ListModelsResponse* response) override;
  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context,
                                    const v1::GetLoadRequest* request,
                                    v1::GetLoadResponse* response) override;

 private:
  CallContext& server_;
};

}  // namespace headgate
