// What the scheduler knows of one worker group: its pages, sequences and steps in flight. Data with
// no rules of its own; the scheduler's thread owns it.
#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "base/group_shape.h"
#include "base/ids.h"
#include "base/step.h"
#include "kvstore/page_ledger.h"
#include "scheduler/running_set.h"

namespace headgate {

// A chunk whose result is awaited.
struct ChunkInFlight {
  SequenceId sequence = 0;
  int64_t tokens_after = 0;  // positions of the sequence once the step is done
  bool sample = false;
  int64_t score_from = 0;     // the wanted targets are those of positions score_from, ...
  int64_t score_skipped = 0;  // targets of the chunk before score_from
  int64_t score_count = 0;    // ... as many as this
  int64_t score_targets = 0;  // size of the chunk's list: results carry as many
};

struct StepInFlight {
  StepId step = 0;
  bool prefill = false;
  std::vector<ChunkInFlight> chunks;
};

struct Group {
  int index = 0;
  bool known = false;  // was up at least once: shape, ledger and tokens_max hold what it said last
  bool up = false;
  GroupShape shape;
  std::optional<PageLedger> ledger;
  int64_t tokens_max = 0;  // longest sequence: positions of the model and empty pools allow no more
  int64_t sequences_max = 0;  // that every rank can hold at once

  RunningSet running;
  std::deque<StepInFlight> in_flight;  // oldest first
  std::vector<SequenceId> releases;    // ride in the next plan
  StepId next_step = 1;
  bool starving = false;         // a running sequence waits for pages: nobody else gets any
  std::vector<PageStats> pages;  // by rank, as last reported

  bool idle() const { return running.empty() && in_flight.empty() && releases.empty(); }
};

// Most sequences that every rank can hold at once; below 1 when the shape makes no sense.
int64_t MostSequences(const GroupShape& shape);

// Longest sequence, in positions, that the model takes and that fits the group's empty pools.
int64_t LongestSequence(const GroupShape& shape, const PageLedger& ledger);

}  // namespace headgate
