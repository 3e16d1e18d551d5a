// Ready (a rank's shape) and Load (what a scheduler tells its servers about pressure).
#include "base/status_macros.h"
#include "proto/wire.h"
#include "proto/wire_checks.h"

namespace headgate {
namespace {

using wire::CheckRange;

absl::StatusOr<RowGroup> RowGroupFromWire(const internal::RowGroup& in, int64_t page_tokens) {
  RETURN_IF_ERROR(CheckRange("rows.head_class", int64_t{in.head_class()},
                             static_cast<int64_t>(HeadClass::kFull),
                             static_cast<int64_t>(HeadClass::kGated)));
  RETURN_IF_ERROR(CheckRange("rows.sinks", in.sinks(), 0, wire::kPositionsMax));
  RETURN_IF_ERROR(CheckRange("rows.window", in.window(), 0, wire::kPositionsMax));
  if (in.sinks() % page_tokens != 0 || in.window() % page_tokens != 0) {
    return absl::InvalidArgumentError("wire: rows.sinks and rows.window must be whole pages");
  }
  RowGroup row{.head_class = static_cast<HeadClass>(in.head_class()),
               .rows = in.rows(),
               .sinks = in.sinks(),
               .window = in.window()};
  if (row.head_class != HeadClass::kFull && row.window < page_tokens) {
    return absl::InvalidArgumentError("wire: rows.window of such a head is at least one page");
  }
  return row;
}

}  // namespace

void ToWire(const RankReady& ready, internal::Ready& out) {
  out.Clear();
  out.set_epoch(ready.epoch);
  out.set_pages_total(ready.shape.pages_total);
  out.set_page_bytes(ready.shape.page_bytes);
  out.set_sequences_max(ready.shape.sequences_max);
  for (const RowGroup& row : ready.shape.rows) {
    internal::RowGroup* wire_row = out.add_rows();
    wire_row->set_head_class(static_cast<int32_t>(row.head_class));
    wire_row->set_rows(row.rows);
    wire_row->set_sinks(row.sinks);
    wire_row->set_window(row.window);
  }
  out.set_page_tokens(ready.page_tokens);
  out.set_max_positions(ready.max_positions);
  out.set_vocab(ready.vocab);
  out.set_model(ready.model);
}

absl::StatusOr<RankReady> FromWire(const internal::Ready& in) {
  if (in.epoch() == 0) return absl::InvalidArgumentError("wire: ready.epoch is 0");
  if (in.page_bytes() == 0) return absl::InvalidArgumentError("wire: ready.page_bytes is 0");
  RETURN_IF_ERROR(CheckRange("ready.sequences_max", in.sequences_max(), 1, kSequencesUnlimited));
  RETURN_IF_ERROR(CheckRange("ready.page_tokens", in.page_tokens(), 1, 1 << 16));
  RETURN_IF_ERROR(CheckRange("ready.max_positions", in.max_positions(), 1, wire::kPositionsMax));
  RETURN_IF_ERROR(CheckRange("ready.vocab", in.vocab(), 1, wire::kTokenMax));
  RETURN_IF_ERROR(CheckRange("ready.rows", int64_t{in.rows_size()}, 0, wire::kRowGroupsMax));
  RETURN_IF_ERROR(CheckRange("ready.model bytes", static_cast<int64_t>(in.model().size()), 0,
                             wire::kModelBytesMax));
  RankReady ready;
  ready.epoch = in.epoch();
  ready.shape.pages_total = in.pages_total();
  ready.shape.page_bytes = in.page_bytes();
  ready.shape.sequences_max = in.sequences_max();
  for (const internal::RowGroup& wire_row : in.rows()) {
    ASSIGN_OR_RETURN(RowGroup row, RowGroupFromWire(wire_row, in.page_tokens()));
    ready.shape.rows.push_back(row);
  }
  ready.page_tokens = in.page_tokens();
  ready.max_positions = in.max_positions();
  ready.vocab = in.vocab();
  ready.model = in.model();
  return ready;
}

void ToWire(const SchedulerStats& stats, internal::Load& out) {
  out.Clear();
  out.set_waiting(stats.requests_waiting);
  out.set_waiting_limit(stats.requests_waiting_limit);
  out.set_running(stats.requests_running);
  out.set_groups_ready(stats.groups_ready);
  out.set_groups_total(stats.groups_total);
  out.set_preemptions(stats.preemptions);
  out.set_group_restarts(stats.group_restarts);
  for (const RankStats& rank : stats.ranks) {
    internal::RankLoad* load = out.add_ranks();
    load->set_group(rank.group);
    load->set_rank(rank.rank);
    wire::ToWire(rank.pages, *load->mutable_pages());
  }
}

SchedulerStats FromWire(const internal::Load& in) {
  SchedulerStats stats;
  stats.requests_waiting = in.waiting();
  stats.requests_waiting_limit = in.waiting_limit();
  stats.requests_running = in.running();
  stats.groups_ready = in.groups_ready();
  stats.groups_total = in.groups_total();
  stats.preemptions = in.preemptions();
  stats.group_restarts = in.group_restarts();
  for (const internal::RankLoad& load : in.ranks()) {
    if (!(static_cast<int64_t>(stats.ranks.size()) < wire::kRanksMax)) break;
    const absl::StatusOr<PageStats> pages = wire::FromWire(load.pages());
    if (!(load.group() >= 0 && load.rank() >= 0 && pages.ok())) continue;
    RankStats rank;
    rank.group = load.group();
    rank.rank = load.rank();
    rank.pages = *pages;
    stats.ranks.push_back(rank);
  }
  return stats;
}

}  // namespace headgate
