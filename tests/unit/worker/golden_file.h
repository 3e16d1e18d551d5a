// Reference figures in tests/golden/*.json (made by tools/make_reference), and how the worker's
// compare with them.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <string>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/unit/worker/group_rig.h"

namespace headgate {

inline nlohmann::json ReadGolden(const std::string& name) {
  return nlohmann::json::parse(ReadFile(GoldenFile(name + ".json")));
}

// Log-probability of tokens[i + 1] after tokens[0..i], and the model's first choice there.
struct ScoredText {
  std::vector<float> logprob;
  std::vector<TokenId> top1;
};

// Scores a text through chunks of `chunk_tokens`, as one sequence that is released afterwards.
inline ScoredText ScoreText(GroupRig& rig, SequenceId id, const std::vector<TokenId>& tokens,
                            int64_t chunk_tokens) {
  ScoredText scored;
  StepPlan plan;
  plan.starts.push_back({id, {}, 0, static_cast<int64_t>(tokens.size())});
  const int64_t total = static_cast<int64_t>(tokens.size());
  for (int64_t position = 0; position < total; position += chunk_tokens) {
    Chunk chunk;
    chunk.sequence = id;
    chunk.position = position;
    const int64_t end = std::min(total, position + chunk_tokens);
    chunk.tokens.assign(tokens.begin() + position, tokens.begin() + end);
    for (int64_t i = position; i < end; ++i) {
      chunk.score_targets.push_back(i + 1 < total ? tokens[static_cast<size_t>(i + 1)] : kNoTarget);
    }
    plan.chunks = {chunk};
    const auto results = rig.Step(plan);
    if (!results.ok()) {
      ADD_FAILURE() << results.status();
      return scored;
    }
    plan = StepPlan();
    const SequenceResult& result = results->front().sequences.front();
    EXPECT_FALSE(result.failed);
    scored.logprob.insert(scored.logprob.end(), result.score_logprobs.begin(),
                          result.score_logprobs.end());
    scored.top1.insert(scored.top1.end(), result.score_top.begin(), result.score_top.end());
  }
  scored.logprob.pop_back();  // nothing follows the last token
  scored.top1.pop_back();
  EXPECT_TRUE(rig.Release(id).ok());
  return scored;
}

// Scores a text twice at a time, as two sequences that go on by their own lengths in each step (0:
// not at all), as prompts and answers of several clients do.
inline std::array<ScoredText, 2> ScoreTogether(GroupRig& rig, const std::vector<TokenId>& tokens,
                                               const std::vector<std::array<int64_t, 2>>& steps) {
  constexpr SequenceId kFirst = 1001;
  std::array<ScoredText, 2> scored;
  std::array<int64_t, 2> at = {};
  for (const std::array<int64_t, 2>& lengths : steps) {
    StepPlan plan;
    for (size_t s = 0; s < 2; ++s) {
      if (lengths[s] == 0) continue;
      const SequenceId id = kFirst + s;
      if (at[s] == 0) plan.starts.push_back({id, {}, 0, static_cast<int64_t>(tokens.size())});
      const auto from = tokens.begin() + at[s];
      plan.chunks.push_back(
          {id, at[s], {from, from + lengths[s]}, false, {from + 1, from + lengths[s] + 1}});
      at[s] += lengths[s];
    }
    const auto results = rig.Step(plan);
    if (!results.ok()) {
      ADD_FAILURE() << results.status();
      return scored;
    }
    for (const SequenceResult& result : results->front().sequences) {
      ScoredText& text = scored[result.sequence - kFirst];
      text.logprob.insert(text.logprob.end(), result.score_logprobs.begin(),
                          result.score_logprobs.end());
      text.top1.insert(text.top1.end(), result.score_top.begin(), result.score_top.end());
    }
  }
  for (const SequenceId id : {kFirst, kFirst + 1}) EXPECT_TRUE(rig.Release(id).ok());
  return scored;
}

// Of 47 tokens each: prompts, answers while nothing else runs (a GPU replays these steps), answers
// beside a prompt, and answers together.
inline std::vector<std::array<int64_t, 2>> MixedSteps() {
  std::vector<std::array<int64_t, 2>> steps = {{20, 0}, {1, 0}, {1, 0}, {1, 0}, {1, 25}, {1, 9}};
  for (int i = 0; i < 9; ++i) steps.push_back({1, 1});
  steps.insert(steps.end(), {{5, 1}, {1, 0}, {7, 0}, {0, 3}});
  return steps;
}

// Sums over many scored tokens.
struct ScoreDistance {
  size_t tokens = 0;
  size_t same_top1 = 0;
  size_t clear = 0;  // tokens whose first choice leads by margin_min or more
  size_t clear_same_top1 = 0;
  double difference = 0.0;  // of log-probabilities, absolute, summed
  double difference_max = 0.0;

  void Add(const ScoredText& ours, const nlohmann::json& reference, double margin_min) {
    ASSERT_EQ(ours.logprob.size(), reference["logprob"].size());
    for (size_t i = 0; i < ours.logprob.size(); ++i) {
      const double delta = std::abs(ours.logprob[i] - reference["logprob"][i].get<double>());
      const bool same = ours.top1[i] == reference["top1"][i].get<TokenId>();
      ++tokens;
      same_top1 += same;
      difference += delta;
      difference_max = std::max(difference_max, delta);
      if (reference["margin"][i].get<double>() >= margin_min) {
        ++clear;
        clear_same_top1 += same;
      }
    }
  }
  double mean_difference() const { return difference / static_cast<double>(tokens); }
  double top1_share() const { return static_cast<double>(same_top1) / static_cast<double>(tokens); }
};

}  // namespace headgate
