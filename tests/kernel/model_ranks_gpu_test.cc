// Whole models on two GPUs, a process a rank, compared by values: what every rank says of a prompt
// beside what the same model says on one GPU, and beside the reference figures in fp32. Sums go
// through the peers' memory, then through NCCL. This process never touches CUDA: ranks are forked.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "tests/kernel/model_rig.h"
#include "tests/test_folder.h"
#include "tests/unit/worker/sampler_around.h"
#include "worker/cuda/bench/gpu_ranks.h"

namespace headgate {
namespace {

constexpr int kRanks = 2;

// Who adds up.
const std::string kAlone = "one GPU", kStores = "peer stores", kNccl = "NCCL";

using Texts = std::map<SequenceId, ScoredText>;
using TextsBySum = std::map<std::string, Texts>;  // by who added up

// Keeps what this rank's sampler says: a StepResult tells only what rank 0's does.
class HeardSampler final : public SamplerAround {
 public:
  HeardSampler(std::unique_ptr<TokenSampler> sampler, Texts& heard)
      : SamplerAround(std::move(sampler)), heard_(heard) {}

  absl::Status Choose(Tensor logits, std::span<const LogitUse> uses) override {
    uses_.insert(uses_.end(), uses.begin(), uses.end());
    return SamplerAround::Choose(logits, uses);
  }
  // One step is in flight at a time.
  absl::StatusOr<std::vector<LogitOutcome>> Await() override {
    ASSIGN_OR_RETURN(std::vector<LogitOutcome> outcomes, SamplerAround::Await());
    for (size_t i = 0; i < uses_.size(); ++i) {
      if (uses_[i].target == kNoTarget) continue;
      const ScoredToken& scored = outcomes[i].scored;
      if (scored.failed) return absl::InternalError("logits are not finite");
      ScoredText& text = heard_[uses_[i].sequence];
      text.logprob.push_back(scored.logprob);
      text.top1.push_back(scored.top);
    }
    uses_.clear();
    return outcomes;
  }

 private:
  Texts& heard_;
  std::vector<LogitUse> uses_;
};

// Lends RunOnGpus' collective to a worker, which wants its own. The one sum that a worker on a GPU
// asks of it is the vote of PeerGroup::Meet, whether some rank cannot reach its peers' memory;
// `cannot` says that this one cannot, so that NCCL adds up.
class LentPeers final : public Collective {
 public:
  LentPeers(Collective& peers, bool cannot, std::vector<float>& votes)
      : peers_(peers), cannot_(cannot), votes_(votes) {}

  int rank() const override { return peers_.rank(); }
  int size() const override { return peers_.size(); }
  absl::Status AllReduceSum(std::span<float> values) override {
    if (cannot_) values[0] = 1.0f;
    RETURN_IF_ERROR(peers_.AllReduceSum(values));
    votes_.push_back(values[0]);
    return absl::OkStatus();
  }
  absl::Status GatherToRoot(std::span<const float> values, std::span<const int64_t> counts,
                            std::span<float> out) override {
    return peers_.GatherToRoot(values, counts, out);
  }
  absl::Status Broadcast(std::span<std::byte> values) override { return peers_.Broadcast(values); }
  absl::Status Barrier() override { return peers_.Barrier(); }

 private:
  Collective& peers_;
  const bool cannot_;
  std::vector<float>& votes_;
};

// A worker, one epoch after the other.
class Scorer {
 public:
  absl::Status Start(WorkerOptions options) {
    options.around_sampler = [this](std::unique_ptr<TokenSampler> sampler) {
      return std::make_unique<HeardSampler>(std::move(sampler), heard_);
    };
    ASSIGN_OR_RETURN(worker_, Worker::Create(options, [](std::string_view, double) {}));
    return absl::OkStatus();
  }

  absl::StatusOr<Texts> Score(std::unique_ptr<Collective> peers, std::vector<StepPlan> plans) {
    heard_.clear();
    RETURN_IF_ERROR(worker_->BeginEpoch(++epoch_, std::move(peers)));
    StepId step = 0;
    for (StepPlan& plan : plans) {
      plan.epoch = epoch_;
      plan.step = ++step;
      RETURN_IF_ERROR(worker_->Submit(plan));
      RETURN_IF_ERROR(worker_->Await().status());
      RETURN_IF_ERROR(worker_->CheckPages());
    }
    worker_->EndEpoch();
    return heard_;
  }

 private:
  Texts heard_;
  std::unique_ptr<Worker> worker_;
  Epoch epoch_ = 0;
};

// The same prompt five times, by sequence: in chunks of 1, 5 and 48, and two of kTogether.
std::vector<StepPlan> PlansOf(const std::vector<TokenId>& prompt) {
  std::vector<StepPlan> plans = PlansTogether(prompt, MixedSteps());
  for (const int64_t chunk : {1, 5, 48}) {
    for (StepPlan& plan : PlansInChunks(static_cast<SequenceId>(chunk), prompt, chunk)) {
      plans.push_back(std::move(plan));
    }
  }
  return plans;
}

absl::StatusOr<Texts> ScoreAlone(const WorkerOptions& options, const std::vector<StepPlan>& plans) {
  Scorer scorer;
  RETURN_IF_ERROR(scorer.Start(options));
  return scorer.Score(MakeSoloCollective(), plans);
}

// As one of the ranks. Without kStores where these GPUs cannot do that.
absl::Status ScoreWithPeers(const WorkerOptions& options, const std::vector<StepPlan>& plans,
                            Collective& peers, TextsBySum& scored) {
  Scorer scorer;
  RETURN_IF_ERROR(scorer.Start(options));
  for (const bool stores : {true, false}) {
    std::vector<float> votes;
    ASSIGN_OR_RETURN(Texts texts,
                     scorer.Score(std::make_unique<LentPeers>(peers, !stores, votes), plans));
    if (votes.size() != 1) return absl::InternalError("not one vote: who added up is not known");
    if (stores && votes[0] > 0.0f) continue;
    scored[stores ? kStores : kNccl] = std::move(texts);
  }
  return peers.Barrier();  // no rank gives its inbox back while a peer has it mapped
}

absl::StatusOr<TextsBySum> ScoreOnRank(const std::string& model, const std::vector<StepPlan>& plans,
                                       Collective& peers) {
  WorkerOptions options = GpuOptions(TestModel(model), peers.rank());
  TextsBySum scored;
  ASSIGN_OR_RETURN(scored[kAlone], ScoreAlone(options, plans));
  options.rank = peers.rank();
  options.ranks = peers.size();
  RETURN_IF_ERROR(ScoreWithPeers(options, plans, peers, scored));
  return scored;
}

// What every rank scored.
absl::StatusOr<std::vector<TextsBySum>> ScoreOnRanks(const std::string& model,
                                                     const std::vector<StepPlan>& plans) {
  const TestFolder folder;
  const auto file = [](int rank) { return absl::StrCat("rank", rank, ".json"); };
  RETURN_IF_ERROR(RunOnGpus(kRanks, absl::Seconds(50), [&](Collective& peers) -> absl::Status {
    ASSIGN_OR_RETURN(const TextsBySum scored, ScoreOnRank(model, plans, peers));
    folder.Write(file(peers.rank()), nlohmann::json(scored).dump());
    return absl::OkStatus();
  }));
  std::vector<TextsBySum> ranks;
  for (int rank = 0; rank < kRanks; ++rank) {
    const std::string told = ReadFile(folder.At(file(rank)));
    ranks.push_back(nlohmann::json::parse(told).get<TextsBySum>());
  }
  return ranks;
}

void ExpectSameValues(const std::string& whose, const Texts& ours, const Texts& alone,
                      const nlohmann::json& reference) {
  SCOPED_TRACE(whose);
  ASSERT_EQ(ours.size(), 5u);
  ASSERT_EQ(alone.size(), 5u);
  double mean = 0.0, largest = 0.0;  // of the text that is farthest from one GPU's
  for (const auto& [sequence, text] : ours) {
    SCOPED_TRACE(absl::StrCat("sequence ", sequence));
    {
      SCOPED_TRACE("beside the reference");
      ExpectSmallModelScores(text, reference);
    }
    SCOPED_TRACE("beside one GPU");
    nlohmann::json one = alone.at(sequence);
    one["margin"] = reference["margin"];
    const ScoreDistance distance = ExpectSmallModelScores(text, one);
    EXPECT_LT(distance.difference_max, kSmallModelDifferenceMax);
    mean = std::max(mean, distance.mean_difference());
    largest = std::max(largest, distance.difference_max);
  }
  std::printf("%s: |dlogprob| beside one GPU: mean %.5f max %.4f\n", whose.c_str(), mean, largest);
}

class GpuModelRanksTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const int gpus = CountGpus();
    ASSERT_GT(gpus, 0);
    if (gpus < kRanks) GTEST_SKIP() << "one GPU; NCCL needs one per rank";
  }
};

TEST_P(GpuModelRanksTest, EveryRankScoresLikeOneGpuAndTheReference) {
  const nlohmann::json golden = ReadGolden(GetParam());
  const auto ranks = ScoreOnRanks(GetParam(), PlansOf(golden["prompt"]));
  ASSERT_TRUE(ranks.ok()) << ranks.status();
  const TextsBySum& first = ranks->front();
  for (const std::string& sum : {kStores, kNccl}) {
    for (size_t rank = 0; first.contains(sum) && rank < ranks->size(); ++rank) {
      const std::string whose = absl::StrCat(GetParam(), ", rank ", rank, ", ", sum);
      const TextsBySum& scored = (*ranks)[rank];
      EXPECT_TRUE(scored.at(sum) == first.at(sum)) << whose << ": not the bits of rank 0";
      ExpectSameValues(whose, scored.at(sum), scored.at(kAlone), golden["score"]);
    }
  }
  if (!first.contains(kStores)) {
    GTEST_SKIP() << "these GPUs do not store into each other's memory: NCCL alone was compared";
  }
}

// The last layer then computes these alone.
TEST_P(GpuModelRanksTest, EveryRankScoresFewOutputsOfAStepLikeOneGpu) {
  const auto prompt = ReadGolden(GetParam())["prompt"].get<std::vector<TokenId>>();
  const auto ranks = ScoreOnRanks(GetParam(), WithFewOutputs(PlansOf(prompt)).plans);
  ASSERT_TRUE(ranks.ok()) << ranks.status();
  for (const TextsBySum& scored : *ranks) {
    for (const auto& [sum, texts] : scored) {
      SCOPED_TRACE(sum);
      EXPECT_TRUE(texts == ranks->front().at(sum)) << "not the bits of rank 0";
      ASSERT_EQ(texts.size(), scored.at(kAlone).size());
      for (const auto& [sequence, alone] : scored.at(kAlone)) {
        const std::vector<float>& logprob = texts.at(sequence).logprob;
        ASSERT_EQ(logprob.size(), alone.logprob.size());
        for (size_t i = 0; i < logprob.size(); ++i) {
          EXPECT_NEAR(logprob[i], alone.logprob[i], kSmallModelDifferenceMax);
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, GpuModelRanksTest, testing::ValuesIn(FamilyModels()));

}  // namespace
}  // namespace headgate
