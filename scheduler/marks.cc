#include "scheduler/marks.h"

namespace headgate {

const char* MarkName(Mark mark) {
  static constexpr std::array<const char*, kMarkCount> kNames = {"refused_invalid",
                                                                 "refused_never_fits",
                                                                 "refused_after_group_up",
                                                                 "refused_full",
                                                                 "finished_at_once",
                                                                 "replay_submitted",
                                                                 "cancel_waiting",
                                                                 "cancel_preempted",
                                                                 "cancel_running",
                                                                 "cancel_unstarted",
                                                                 "cancel_unknown",
                                                                 "cancel_drops_events",
                                                                 "deadline_waiting",
                                                                 "deadline_running",
                                                                 "looked_past_head",
                                                                 "head_closes_groups",
                                                                 "preempted",
                                                                 "preempted_unstarted",
                                                                 "admitted_guaranteed",
                                                                 "stalled_on_pending",
                                                                 "stalled_behind_guaranteed",
                                                                 "stalled_behind_older",
                                                                 "chunked_prefill",
                                                                 "decode_in_flight",
                                                                 "surplus_result",
                                                                 "release_only_plan",
                                                                 "stop_token",
                                                                 "score_across_chunks",
                                                                 "failed_logits",
                                                                 "token_outside_vocab",
                                                                 "broken_report",
                                                                 "stale_epoch",
                                                                 "stale_step",
                                                                 "malformed_result",
                                                                 "group_lost_sequences",
                                                                 "group_up_without_down",
                                                                 "group_up_stale",
                                                                 "group_shape_refused"};
  const auto index = static_cast<size_t>(mark);
  return index < kMarkCount ? kNames[index] : "unknown";
}

}  // namespace headgate
