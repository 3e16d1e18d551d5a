// Reference figures in tests/golden/*.json (made by tools/make_reference), and how the worker's
// compare with them.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "nlohmann/json.hpp"
#include "tests/unit/worker/group_rig.h"

namespace headgate {

inline nlohmann::json ReadGolden(const std::string& name) {
  return nlohmann::json::parse(ReadFile(GoldenFile(name + ".json")));
}

// The small random models, one or more of each family, that have reference figures.
inline std::vector<std::string> FamilyModels() {
  return {"llama2_bias", "llama3", "mistral", "qwen2", "qwen3", "qwen3_64", "qwen3_128"};
}

// Log-probability of tokens[i + 1] after tokens[0..i], and the model's first choice there.
struct ScoredText {
  std::vector<float> logprob;
  std::vector<TokenId> top1;

  bool operator==(const ScoredText&) const = default;
};
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ScoredText, logprob, top1)  // JSON as in golden files

// Steps that score a text through chunks of `chunk_tokens`, as one sequence, and release it.
inline std::vector<StepPlan> PlansInChunks(SequenceId id, const std::vector<TokenId>& tokens,
                                           int64_t chunk_tokens) {
  std::vector<StepPlan> plans;
  const int64_t total = static_cast<int64_t>(tokens.size());
  for (int64_t position = 0; position < total; position += chunk_tokens) {
    StepPlan& plan = plans.emplace_back();
    if (position == 0) plan.starts.push_back({id, {}, 0, total});
    const int64_t end = std::min(total, position + chunk_tokens);
    Chunk chunk{id, position, {tokens.begin() + position, tokens.begin() + end}, false, {}};
    for (int64_t i = position; i < end; ++i) {
      chunk.score_targets.push_back(i + 1 < total ? tokens[static_cast<size_t>(i + 1)] : kNoTarget);
    }
    plan.chunks = {chunk};
  }
  plans.emplace_back().releases = {id};
  return plans;
}

// Sequences of PlansTogether.
inline constexpr std::array<SequenceId, 2> kTogether = {1001, 1002};

// Steps that score a text twice at a time, as two sequences that go on by their own lengths in each
// step (0: not at all), as prompts and answers of several clients do, and release them.
inline std::vector<StepPlan> PlansTogether(const std::vector<TokenId>& tokens,
                                           const std::vector<std::array<int64_t, 2>>& steps) {
  std::vector<StepPlan> plans;
  std::array<int64_t, 2> at = {};
  for (const std::array<int64_t, 2>& lengths : steps) {
    StepPlan& plan = plans.emplace_back();
    for (size_t s = 0; s < 2; ++s) {
      if (lengths[s] == 0) continue;
      const SequenceId id = kTogether[s];
      if (at[s] == 0) plan.starts.push_back({id, {}, 0, static_cast<int64_t>(tokens.size())});
      const auto from = tokens.begin() + at[s];
      plan.chunks.push_back(
          {id, at[s], {from, from + lengths[s]}, false, {from + 1, from + lengths[s] + 1}});
      at[s] += lengths[s];
    }
  }
  plans.emplace_back().releases = {kTogether.begin(), kTogether.end()};
  return plans;
}

// Such steps with few outputs: every third has none, of the others' chunks the last that has a
// target.
struct FewOutputs {
  std::vector<StepPlan> plans;
  std::map<SequenceId, std::vector<size_t>> positions;  // that are still scored
};
inline FewOutputs WithFewOutputs(std::vector<StepPlan> plans) {
  FewOutputs few;
  size_t count = 0;
  for (StepPlan& plan : plans) {
    const bool none = ++count % 3 == 0;
    for (Chunk& chunk : plan.chunks) {
      std::vector<TokenId>& targets = chunk.score_targets;
      size_t keep = targets.size();
      while (keep > 0 && targets[keep - 1] == kNoTarget) --keep;
      if (none || keep == 0) {
        targets.clear();
        continue;
      }
      std::fill_n(targets.begin(), keep - 1, kNoTarget);
      few.positions[chunk.sequence].push_back(static_cast<size_t>(chunk.position) + keep - 1);
    }
  }
  few.plans = std::move(plans);
  return few;
}

// What such steps score, by sequence.
inline std::map<SequenceId, ScoredText> RunPlans(GroupRig& rig,
                                                 const std::vector<StepPlan>& plans) {
  std::map<SequenceId, ScoredText> scored;
  for (const StepPlan& plan : plans) {
    const auto results = rig.Step(plan);
    if (!results.ok()) {
      ADD_FAILURE() << results.status();
      break;
    }
    for (size_t c = 0; c < plan.chunks.size(); ++c) {
      const std::vector<TokenId>& targets = plan.chunks[c].score_targets;
      const SequenceResult& result = results->front().sequences[c];
      EXPECT_FALSE(result.failed);
      ScoredText& text = scored[result.sequence];
      for (size_t i = 0; i < targets.size(); ++i) {
        if (targets[i] == kNoTarget) continue;  // nothing follows the last token
        text.logprob.push_back(result.score_logprobs[i]);
        text.top1.push_back(result.score_top[i]);
      }
    }
  }
  return scored;
}

// Rows that are the few outputs of a step get what they get where all rows are outputs.
inline void ExpectFewOutputsAsAmongAll(GroupRig& rig, const std::vector<StepPlan>& plans,
                                       float difference_max) {
  const auto all = RunPlans(rig, plans);
  FewOutputs few = WithFewOutputs(plans);
  const auto some = RunPlans(rig, few.plans);
  EXPECT_FALSE(few.positions.empty());
  for (const auto& [sequence, positions] : few.positions) {
    const ScoredText &got = some.at(sequence), &want = all.at(sequence);
    ASSERT_EQ(got.logprob.size(), positions.size());
    for (size_t i = 0; i < positions.size(); ++i) {
      EXPECT_NEAR(got.logprob[i], want.logprob[positions[i]], difference_max)
          << "sequence " << sequence << ", position " << positions[i];
    }
  }
}

// PlansInChunks and PlansTogether, run at once.
inline ScoredText ScoreText(GroupRig& rig, SequenceId id, const std::vector<TokenId>& tokens,
                            int64_t chunk_tokens) {
  return RunPlans(rig, PlansInChunks(id, tokens, chunk_tokens))[id];
}

// A text in one chunk, with targets[i] scored after its tokens[0..i].
inline ScoredText ScoreTargets(GroupRig& rig, SequenceId id, const std::vector<TokenId>& tokens,
                               const std::vector<TokenId>& targets) {
  std::vector<StepPlan> plans = PlansInChunks(id, tokens, static_cast<int64_t>(tokens.size()));
  plans.front().chunks.front().score_targets = targets;
  return RunPlans(rig, plans)[id];
}

inline std::array<ScoredText, 2> ScoreTogether(GroupRig& rig, const std::vector<TokenId>& tokens,
                                               const std::vector<std::array<int64_t, 2>>& steps) {
  auto scored = RunPlans(rig, PlansTogether(tokens, steps));
  return {scored[kTogether[0]], scored[kTogether[1]]};
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
