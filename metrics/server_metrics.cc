#include "metrics/server_metrics.h"

#include "metrics/family_list.h"

namespace headgate {
namespace {

void AddRequests(const ServerStats& stats, FamilyList& list) {
  list.Counter("headgate_requests_started", "Requests accepted by this server",
               static_cast<double>(stats.requests_started));
  const auto ended = [&](const char* how, uint64_t count) {
    list.Counter("headgate_requests_ended", "Requests ended", static_cast<double>(count),
                 {{"result", how}});
  };
  ended("ok", stats.requests_ok);
  ended("failed", stats.requests_failed);
  ended("cancelled", stats.requests_cancelled);
  list.Gauge("headgate_streams_active", "Live requests of this server",
             static_cast<double>(stats.streams_active));
  list.Counter("headgate_slow_readers", "Streams ended because the client did not read",
               static_cast<double>(stats.slow_readers));
  list.Counter("headgate_tokens_streamed", "Tokens sent to clients",
               static_cast<double>(stats.tokens_streamed));
  list.Counter("headgate_request_prompt_tokens", "Prompt tokens of accepted requests",
               static_cast<double>(stats.prompt_tokens));
}

void AddLink(const ServerStats& stats, FamilyList& list) {
  list.Gauge("headgate_scheduler_attached", "1 when attached to a scheduler",
             static_cast<double>(stats.scheduler_attached));
  list.Counter("headgate_scheduler_reconnects", "Times that the scheduler was attached anew",
               static_cast<double>(stats.scheduler_reconnects));
  list.Counter("headgate_server_replays", "Requests sent again after the scheduler was lost",
               static_cast<double>(stats.replays));
  list.Counter("headgate_server_stale_messages", "Repeated tokens and unknown requests, ignored",
               static_cast<double>(stats.stale_messages));
}

}  // namespace

MetricFamilies ServerFamilies(const ServerStats& stats, const std::string& model_name) {
  FamilyList list({{"model_name", model_name}});
  AddRequests(stats, list);
  AddLink(stats, list);
  list.AddHistogram("headgate_ttft_seconds", "Time to the first token", stats.ttft_seconds);
  list.AddHistogram("headgate_inter_token_seconds", "Time between tokens of a stream",
                    stats.inter_token_seconds);
  list.AddHistogram("headgate_request_seconds", "Time of a request", stats.request_seconds);
  AddQueues(stats.queues, list);
  return list.Take();
}

}  // namespace headgate
