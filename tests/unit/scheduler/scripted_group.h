// Shared by the scheduler's tests: a group whose ranks do as they are told. It answers a plan with
// worst-case page counts and with tokens 100, 101, ... (100 + index in the client's stream).
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "base/group_shape.h"
#include "base/step.h"
#include "kvstore/page_ledger.h"
#include "scheduler/scheduler.h"

namespace headgate {

inline constexpr TokenId kFirstToken = 100;

// Pages of 4 tokens, one full row per rank: n tokens need ceil(n / 4) pages.
inline GroupShape SmallShape(uint32_t pages, Epoch epoch = 1, int ranks = 1) {
  GroupShape shape;
  shape.epoch = epoch;
  shape.page_tokens = 4;
  shape.max_positions = 1024;
  shape.vocab = 1000;
  for (int rank = 0; rank < ranks; ++rank) {
    RankShape& to = shape.ranks.emplace_back();
    to.pages_total = pages;
    to.page_bytes = 64;
    to.rows.push_back({.head_class = HeadClass::kFull, .rows = 1});
  }
  return shape;
}

class ScriptedGroup {
 public:
  explicit ScriptedGroup(GroupShape shape)
      : shape_(std::move(shape)), ledger_(*PageLedger::Create(shape_)) {}

  // Results by rank. Fill in what a test wants to differ.
  std::vector<StepResult> Run(const StepPlan& plan) {
    for (const SequenceStart& start : plan.starts)
      next_index_[start.sequence] = start.first_token_index;
    std::vector<StepResult> by_rank(shape_.ranks.size());
    for (size_t rank = 0; rank < by_rank.size(); ++rank) {
      by_rank[rank].epoch = plan.epoch;
      by_rank[rank].step = plan.step;
      if (!plan.chunks.empty()) by_rank[rank].times.dense = absl::Milliseconds(1);
      for (const Chunk& chunk : plan.chunks) {
        SequenceResult& to = by_rank[rank].sequences.emplace_back();
        to.sequence = chunk.sequence;
        to.pages_held = static_cast<uint32_t>(
            ledger_.WorstCase(static_cast<int>(rank), chunk.position + chunk.length()));
        if (rank != 0) continue;
        to.sampled = chunk.sample;
        if (chunk.sample) {
          to.token = kFirstToken + static_cast<TokenId>(next_index_[chunk.sequence]++);
        }
        for (const TokenId target : chunk.score_targets) {
          to.score_logprobs.push_back(target == kNoTarget ? 0.0f : -static_cast<float>(target));
          to.score_top.push_back(target == kNoTarget ? 0 : target + 1);
        }
      }
    }
    return by_rank;
  }

 private:
  GroupShape shape_;
  PageLedger ledger_;
  std::map<SequenceId, int64_t> next_index_;
};

inline Request SmallRequest(RequestId id, int64_t prompt_tokens, int64_t max_tokens) {
  Request request;
  request.id = id;
  for (int64_t i = 0; i < prompt_tokens; ++i) {
    request.prompt.push_back(static_cast<TokenId>(id * 10 + static_cast<uint64_t>(i)) % 1000);
  }
  request.max_tokens = max_tokens;
  return request;
}

}  // namespace headgate
