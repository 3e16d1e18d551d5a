// The words that a scheduler and its workers exchange: one StepPlan down, one StepResult up, per
// step and rank. proto/wire.h converts them to and from protobuf.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/sampling_params.h"

namespace headgate {

// First word about a sequence on a group; sent in the plan that holds its first chunk.
struct SequenceStart {
  SequenceId sequence = 0;
  SamplingParams sampling;
  // Index, in the client's stream, of the first token that this sequence will sample. Not 0 after
  // a preemption or a replay: the random numbers and penalties continue from there.
  int64_t first_token_index = 0;
  // Number of tokens at the head of the sequence that came from the client's prompt. What follows
  // up to the first sampled token is replayed output (presence and frequency penalties count it).
  int64_t prompt_tokens = 0;

  bool operator==(const SequenceStart&) const = default;
};

// `tokens.size()` (prefill), or 1 (decode), consecutive positions of one sequence.
struct Chunk {
  SequenceId sequence = 0;
  int64_t position = 0;         // of the first token of this chunk
  std::vector<TokenId> tokens;  // empty = decode: the token this sequence sampled last, which may
                                // still be in flight when the plan is made
  bool sample = false;          // sample the token that follows the chunk's last position
  // Score: log-probability wanted of score_targets[i] at position + i; empty = none; kNoTarget
  // skips.
  std::vector<TokenId> score_targets;

  int64_t length() const { return tokens.empty() ? 1 : static_cast<int64_t>(tokens.size()); }
  bool operator==(const Chunk&) const = default;
};

inline constexpr TokenId kNoTarget = -1;

struct StepPlan {
  Epoch epoch = 0;
  StepId step = 0;
  std::vector<SequenceId> releases;  // done before anything else: pages of these return
  std::vector<SequenceStart> starts;
  std::vector<Chunk> chunks;  // at most one per sequence

  bool operator==(const StepPlan&) const = default;
};

struct TokenLogprob {
  TokenId token = 0;
  float logprob = 0.0f;

  bool operator==(const TokenLogprob&) const = default;
};

// What one step did to one sequence on one rank. Token fields are set on rank 0 only.
struct SequenceResult {
  SequenceId sequence = 0;
  bool sampled = false;
  TokenId token = 0;
  float logprob = 0.0f;               // natural log, of the unpenalised, untempered softmax
  std::vector<TokenLogprob> top;      // best first; SamplingParams::top_logprobs of them
  std::vector<float> score_logprobs;  // parallel to Chunk::score_targets; skipped ones 0
  std::vector<TokenId> score_top;     // parallel: the model's own first choice
  uint32_t pages_held = 0;            // after the step, on this rank
  bool failed = false;                // non-finite logits: only this request fails

  bool operator==(const SequenceResult&) const = default;
};

// pages_total = free + referenced + pending_free, always.
struct PageStats {
  uint32_t total = 0;
  uint32_t free = 0;
  uint32_t referenced_full = 0;       // held by full rows
  uint32_t referenced_streaming = 0;  // held by streaming rows
  uint32_t referenced_gated = 0;      // held by gated rows
  uint32_t pending_free = 0;          // returned, but a step in flight may still read them
  uint32_t peak_referenced = 0;
  uint64_t freed_by_policy = 0;   // pages, since start
  uint64_t freed_by_release = 0;  // pages, since start
  uint64_t page_bytes = 0;

  uint32_t referenced() const { return referenced_full + referenced_streaming + referenced_gated; }
  bool operator==(const PageStats&) const = default;
};

// By the clock of a device that works while the host does something else.
struct DeviceTimes {
  absl::Duration busy;  // from the step's first work to the end of its last, with gaps between
  absl::Duration idle;  // from the end of the step before to the first work, which is what the host
                        // cost; 0 when no step was in flight: a pause says nothing about the host

  DeviceTimes& operator+=(const DeviceTimes& more) {
    busy += more.busy;
    idle += more.idle;
    return *this;
  }
  bool operator==(const DeviceTimes&) const = default;
};

struct StepTimes {
  absl::Duration total;  // on this rank, from when it was submitted or the step before ended
  absl::Duration attention;
  absl::Duration dense;  // matrix products; those of the MLP with their gate
  absl::Duration
      collective;         // sums over ranks with what follows them (residual, norm), and waiting
  absl::Duration sample;  // gathering logits included
  std::optional<DeviceTimes> device = std::nullopt;  // none: no such clock, or nothing to compute

  StepTimes& operator+=(const StepTimes& more) {
    total += more.total;
    attention += more.attention;
    dense += more.dense;
    collective += more.collective;
    sample += more.sample;
    if (more.device.has_value()) device = device.value_or(DeviceTimes()) += *more.device;
    return *this;
  }
  bool operator==(const StepTimes&) const = default;
};

// A queue, table, cache or buffer with a limit. Names have [a-z0-9_] only.
struct QueueStats {
  std::string name;
  uint64_t size = 0;
  uint64_t limit = 0;

  bool operator==(const QueueStats&) const = default;
};

struct StepResult {
  Epoch epoch = 0;
  StepId step = 0;
  std::vector<SequenceResult> sequences;  // one per chunk of the plan, in the plan's order
  PageStats pages;
  StepTimes times;
  // Of the rank's process when it sent this: its backend's, its worker's and its shell's, each name
  // once.
  std::vector<QueueStats> queues;

  bool operator==(const StepResult&) const = default;
};

}  // namespace headgate
