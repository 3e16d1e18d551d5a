#include "metrics/scheduler_metrics.h"

#include "metrics/family_list.h"

namespace headgate {
namespace {

void AddRequests(const SchedulerStats& stats, FamilyList& list) {
  list.Gauge("headgate_requests_waiting", "Requests in the waiting queue",
             static_cast<double>(stats.requests_waiting));
  list.Gauge("headgate_requests_waiting_limit", "Most requests that may wait",
             static_cast<double>(stats.requests_waiting_limit));
  list.Gauge("headgate_requests_running", "Sequences that hold pages",
             static_cast<double>(stats.requests_running));
  list.Counter("headgate_requests_cancelled", "Requests whose client left",
               static_cast<double>(stats.cancelled));
  list.Counter("headgate_requests_deadline_exceeded", "Requests that ran out of time",
               static_cast<double>(stats.deadline_exceeded));
  list.Counter("headgate_requests_refused", "Requests refused at admission",
               static_cast<double>(stats.refused_full), {{"reason", "full"}});
  list.Counter("headgate_requests_refused", "Requests refused at admission",
               static_cast<double>(stats.refused_invalid), {{"reason", "invalid"}});
  list.Counter("headgate_preemptions", "Sequences preempted for want of pages",
               static_cast<double>(stats.preemptions));
  list.Counter("headgate_replays", "Sequences begun again after their group was lost",
               static_cast<double>(stats.replays));
}

void AddGroups(const SchedulerStats& stats, FamilyList& list) {
  list.Gauge("headgate_groups_ready", "Worker groups that take work",
             static_cast<double>(stats.groups_ready));
  list.Gauge("headgate_groups", "Worker groups configured",
             static_cast<double>(stats.groups_total));
  list.Counter("headgate_group_restarts", "Worker groups lost and begun anew",
               static_cast<double>(stats.group_restarts));
  list.Gauge("headgate_servers_attached", "Servers attached",
             static_cast<double>(stats.servers_attached));
  list.Counter("headgate_peers_dropped", "Links ended for a malformed or unread message",
               static_cast<double>(stats.peers_dropped));
  list.Counter("headgate_stale_messages", "Messages of an older epoch or unknown sequence",
               static_cast<double>(stats.stale_messages));
}

void AddSteps(const SchedulerStats& stats, FamilyList& list) {
  list.Counter("headgate_steps", "Steps done", static_cast<double>(stats.steps));
  list.Counter("headgate_prompt_tokens", "Prompt positions computed, replays included",
               static_cast<double>(stats.prompt_tokens));
  list.Counter("headgate_generated_tokens", "Tokens sent out",
               static_cast<double>(stats.generated_tokens));
  list.AddHistogram("headgate_step_seconds", "Time of a step", stats.step_seconds_decode,
                    {{"kind", "decode"}});
  list.AddHistogram("headgate_step_seconds", "Time of a step", stats.step_seconds_mixed,
                    {{"kind", "mixed"}});
  const auto phase = [&](const char* name, absl::Duration time) {
    list.Counter("headgate_step_phase_seconds", "Time that steps spent in a phase",
                 absl::ToDoubleSeconds(time), {{"phase", name}});
  };
  phase("attention", stats.step_times.attention);
  phase("dense", stats.step_times.dense);
  phase("collective", stats.step_times.collective);
  phase("sample", stats.step_times.sample);
  if (!stats.step_times.device.has_value()) return;
  phase("device", stats.step_times.device->busy);
  phase("device_idle", stats.step_times.device->idle);
}

FamilyList::Labels Where(const RankStats& rank) {
  return {{"group", std::to_string(rank.group)}, {"rank", std::to_string(rank.rank)}};
}

void AddPages(const RankStats& rank, FamilyList& list) {
  const FamilyList::Labels where = Where(rank);
  const PageStats& pages = rank.pages;
  const auto state = [&](const char* name, const char* head_class, uint32_t count) {
    FamilyList::Labels labels = where;
    labels.emplace_back("state", name);
    labels.emplace_back("head_class", head_class);
    list.Gauge("headgate_kv_pages", "KV pages by state and head class", count, labels);
  };
  state("free", "", pages.free);
  state("referenced", "full", pages.referenced_full);
  state("referenced", "streaming", pages.referenced_streaming);
  state("referenced", "gated", pages.referenced_gated);
  state("pending_free", "", pages.pending_free);
  list.Gauge("headgate_kv_pages_total", "KV pages of the pool", pages.total, where);
  list.Gauge("headgate_kv_pages_peak", "Most KV pages held at once since start",
             pages.peak_referenced, where);
  list.Gauge("headgate_kv_page_bytes", "Size of one KV page", static_cast<double>(pages.page_bytes),
             where);
  list.Gauge("headgate_kv_held_bytes", "KV bytes held: pages x page size",
             static_cast<double>(pages.page_bytes) * pages.referenced(), where);
  FamilyList::Labels by_policy = where;
  by_policy.emplace_back("by", "policy");
  FamilyList::Labels by_release = where;
  by_release.emplace_back("by", "release");
  list.Counter("headgate_kv_pages_freed", "KV pages freed",
               static_cast<double>(pages.freed_by_policy), by_policy);
  list.Counter("headgate_kv_pages_freed", "KV pages freed",
               static_cast<double>(pages.freed_by_release), by_release);
  list.Gauge("headgate_ledger_held_pages", "Pages that the scheduler's ledger counts as held",
             rank.ledger_held, where);
  list.Gauge("headgate_ledger_reserved_pages", "Pages promised to steps in flight",
             rank.ledger_reserved, where);
}

}  // namespace

MetricFamilies SchedulerFamilies(const SchedulerStats& stats, const std::string& model_name) {
  FamilyList list({{"model_name", model_name}});
  AddRequests(stats, list);
  AddGroups(stats, list);
  AddSteps(stats, list);
  for (const RankStats& rank : stats.ranks) AddPages(rank, list);
  AddQueues(stats.queues, list);
  for (const RankStats& rank : stats.ranks) AddQueues(rank.queues, list, Where(rank));
  return list.Take();
}

}  // namespace headgate
