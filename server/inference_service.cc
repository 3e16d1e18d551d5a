#include "server/inference_service.h"

#include "server/generate_stream.h"
#include "server/unary_call.h"

namespace headgate {
namespace {

void FillPool(const RankStats& rank, v1::PoolLoad& out) {
  out.set_group(rank.group);
  out.set_rank(rank.rank);
  out.set_pages_total(rank.pages.total);
  out.set_pages_free(rank.pages.free);
  out.set_pages_full(rank.pages.referenced_full);
  out.set_pages_streaming(rank.pages.referenced_streaming);
  out.set_pages_gated(rank.pages.referenced_gated);
  out.set_pages_pending_free(rank.pages.pending_free);
  out.set_pages_peak(rank.pages.peak_referenced);
  out.set_page_bytes(rank.pages.page_bytes);
}

}  // namespace

grpc::ServerWriteReactor<grpc::ByteBuffer>* InferenceService::Generate(
    grpc::CallbackServerContext* context, const grpc::ByteBuffer* request) {
  return GenerateStream::Accept(context, request, server_);
}

grpc::ServerUnaryReactor* InferenceService::Score(grpc::CallbackServerContext* context,
                                                  const grpc::ByteBuffer* request,
                                                  grpc::ByteBuffer* response) {
  return AcceptScore(context, *request, response, server_);
}

grpc::ServerUnaryReactor* InferenceService::Tokenize(grpc::CallbackServerContext* context,
                                                     const grpc::ByteBuffer* request,
                                                     grpc::ByteBuffer* response) {
  return AcceptTokenize(context, *request, response, server_);
}

grpc::ServerUnaryReactor* InferenceService::ListModels(grpc::CallbackServerContext* context,
                                                       const v1::ListModelsRequest*,
                                                       v1::ListModelsResponse* response) {
  v1::Model* model = response->add_models();
  model->set_name(server_.model.name);
  model->set_max_positions(server_.model.max_positions);
  model->set_vocab_size(server_.model.vocab);
  model->set_has_chat_template(server_.encoder.has_chat_template());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

grpc::ServerUnaryReactor* InferenceService::GetLoad(grpc::CallbackServerContext* context,
                                                    const v1::GetLoadRequest*,
                                                    v1::GetLoadResponse* response) {
  const SchedulerStats load = server_.link->State().load;
  response->set_waiting(load.requests_waiting);
  response->set_waiting_limit(load.requests_waiting_limit);
  response->set_running(load.requests_running);
  response->set_groups_ready(load.groups_ready);
  response->set_groups_total(load.groups_total);
  response->set_preemptions(load.preemptions);
  response->set_group_restarts(load.group_restarts);
  for (const RankStats& rank : load.ranks) FillPool(rank, *response->add_pools());
  grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
  reactor->Finish(grpc::Status::OK);
  return reactor;
}

}  // namespace headgate
