#include "worker/sequence_table.h"

#include <algorithm>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

template <typename... Parts>
absl::Status Broken(SequenceId sequence, const Parts&... parts) {
  return absl::FailedPreconditionError(absl::StrCat("plan: sequence ", sequence, " ", parts...));
}

}  // namespace

absl::Status SequenceTable::Check(const StepPlan& plan) const {
  absl::flat_hash_set<SequenceId> released, started, stepped;
  for (const SequenceId sequence : plan.releases) {
    if (!sequences_.contains(sequence)) return Broken(sequence, "is released but unknown");
    if (!released.insert(sequence).second) return Broken(sequence, "is released twice");
  }
  for (const SequenceStart& start : plan.starts) {
    // Nor in the plan that releases it: outcomes of the old one may still come.
    if (sequences_.contains(start.sequence) || !started.insert(start.sequence).second) {
      return Broken(start.sequence, "is started twice");
    }
    if (!(start.first_token_index >= 0 && start.prompt_tokens >= 0)) {
      return Broken(start.sequence, "starts with a negative token index or prompt length");
    }
  }
  int64_t rows = 0;
  for (const Chunk& chunk : plan.chunks) {
    if (!stepped.insert(chunk.sequence).second) return Broken(chunk.sequence, "has two chunks");
    const auto found = sequences_.find(chunk.sequence);
    const bool lives = found != sequences_.end() && !released.contains(chunk.sequence);
    if (!lives && !started.contains(chunk.sequence)) return Broken(chunk.sequence, "is unknown");
    RETURN_IF_ERROR(CheckChunk(chunk, lives ? &found->second : nullptr));
    rows += chunk.length();
  }
  if (!(rows <= limits_.step_tokens_max)) {
    return absl::FailedPreconditionError(absl::StrCat("plan: ", rows, " tokens; the worker takes ",
                                                      limits_.step_tokens_max, " a step"));
  }
  return absl::OkStatus();
}

// `sequence` is null when it starts with this chunk.
absl::Status SequenceTable::CheckChunk(const Chunk& chunk, const LiveSequence* sequence) const {
  const int64_t length = sequence == nullptr ? 0 : sequence->length;
  if (chunk.position != length) {
    return Broken(chunk.sequence, "continues at ", chunk.position, ", expected ", length);
  }
  if (!(chunk.length() <= limits_.positions_max - length)) {
    return Broken(chunk.sequence, "grows beyond ", limits_.positions_max, " positions");
  }
  if (chunk.tokens.empty() && (sequence == nullptr || !sequence->has_sampled)) {
    return Broken(chunk.sequence, "is decoded but has sampled nothing");
  }
  const auto valid = [this](TokenId token) { return 0 <= token && token < limits_.vocab; };
  if (!std::all_of(chunk.tokens.begin(), chunk.tokens.end(), valid)) {
    return Broken(chunk.sequence, "has a token outside the vocabulary of ", limits_.vocab);
  }
  if (chunk.score_targets.empty()) return absl::OkStatus();
  if (static_cast<int64_t>(chunk.score_targets.size()) != chunk.length()) {
    return Broken(chunk.sequence, "scores ", chunk.score_targets.size(), " targets in a chunk of ",
                  chunk.length());
  }
  for (const TokenId target : chunk.score_targets) {
    if (target != kNoTarget && !valid(target)) {
      return Broken(chunk.sequence, "scores a token outside the vocabulary of ", limits_.vocab);
    }
  }
  return absl::OkStatus();
}

void SequenceTable::Add(const SequenceStart& start) {
  LiveSequence sequence;
  sequence.start = start;
  sequence.next_token_index = start.first_token_index;
  sequences_.insert_or_assign(start.sequence, sequence);
}

LiveSequence* SequenceTable::Find(SequenceId sequence) {
  const auto it = sequences_.find(sequence);
  return it == sequences_.end() ? nullptr : &it->second;
}

Batch SequenceTable::BuildBatch(const StepPlan& plan) {
  Batch batch;
  for (const Chunk& chunk : plan.chunks) {
    batch.sequences.push_back({chunk.sequence, chunk.position, batch.rows(), chunk.length()});
    if (chunk.tokens.empty()) {
      batch.tokens.push_back(kLastSampled);
    } else {
      batch.tokens.insert(batch.tokens.end(), chunk.tokens.begin(), chunk.tokens.end());
    }
    for (int64_t i = 0; i < chunk.length(); ++i) {
      batch.positions.push_back(static_cast<int32_t>(chunk.position + i));
    }
  }
  return batch;
}

void SequenceTable::Advance(const Chunk& chunk) {
  LiveSequence& sequence = *Find(chunk.sequence);
  sequence.length = chunk.position + chunk.length();
  sequence.has_sampled = chunk.sample;  // an earlier one was fed now
  if (chunk.sample) ++sequence.next_token_index;
}

}  // namespace headgate
