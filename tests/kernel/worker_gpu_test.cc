// A whole worker on the GPU: steps in flight, decode steps recorded and replayed, epochs that end
// with steps queued.
#include <gtest/gtest.h>

#include "absl/time/clock.h"
#include "tests/kernel/model_rig.h"

namespace headgate {
namespace {

constexpr int64_t kTokens = 12;

class GpuWorkerTest : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    auto rig = GroupRig::Create(GpuOptions(TestModel(GetParam()), 0));
    ASSERT_TRUE(rig.ok()) << rig.status();
    rig_ = *std::move(rig);
  }

  // Greedy tokens of `count` equal sequences, every step submitted before the last is awaited; with
  // `stop_after` steps submitted it leaves what is in flight.
  std::vector<std::vector<TokenId>> Pipelined(Epoch epoch, SequenceId count, StepId stop_after) {
    Worker& worker = rig_->worker();
    std::vector<std::vector<TokenId>> tokens(count);
    const auto await = [&] {
      const auto result = worker.Await();
      ASSERT_TRUE(result.ok()) << result.status();
      for (size_t i = 0; i < tokens.size(); ++i) tokens[i].push_back(result->sequences[i].token);
    };
    StepPlan plan;
    for (SequenceId id = 1; id <= count; ++id) {
      plan.starts.push_back({id, {}, 0, static_cast<int64_t>(prompt_.size())});
      plan.chunks.push_back({id, 0, prompt_, true, {}});
    }
    for (StepId step = 1; step <= std::min<StepId>(kTokens, stop_after); ++step) {
      if (worker.in_flight() == Worker::kStepsInFlightMax) await();
      plan.epoch = epoch;
      plan.step = step;
      EXPECT_TRUE(worker.Submit(plan).ok());
      plan = StepPlan();
      for (SequenceId id = 1; id <= count; ++id) {
        const auto position = static_cast<int64_t>(prompt_.size() + step) - 1;
        plan.chunks.push_back({id, position, {}, true, {}});
      }
    }
    while (stop_after >= kTokens && worker.in_flight() > 0) await();
    return tokens;
  }

  std::unique_ptr<GroupRig> rig_;
  // As a plan of `step` that continues sequence 1, or begins it.
  StepPlan PlanOf(StepId step) const {
    StepPlan plan;
    plan.epoch = 1;
    plan.step = step;
    if (step > 1) {
      plan.chunks.push_back({1, static_cast<int64_t>(prompt_.size() + step) - 2, {}, true, {}});
      return plan;
    }
    plan.starts.push_back({1, {}, 0, static_cast<int64_t>(prompt_.size())});
    plan.chunks.push_back({1, 0, prompt_, true, {}});
    return plan;
  }

  const std::vector<TokenId> prompt_ = {1, 7, 3, 9, 4};
};

QueueStats QueueOf(const StepResult& result, const std::string& name) {
  for (const QueueStats& queue : result.queues) {
    if (queue.name == name) return queue;
  }
  ADD_FAILURE() << "no queue " << name;
  return {};
}

// One by one, the second decode step is recorded and the third replayed; so the tokens of
// Generate and of any other order of steps agree only if a replay sees the new step.
TEST_P(GpuWorkerTest, RecordedStepsAndStepsInFlightGiveTheSameTokens) {
  const auto alone = rig_->Generate(100, prompt_, kTokens, 16);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(rig_->BeginEpoch(2).ok());
  const auto one = Pipelined(2, 1, kTokens);
  EXPECT_EQ(one.front(), Tokens(*alone));
  ASSERT_TRUE(rig_->BeginEpoch(3).ok());
  const auto many = Pipelined(3, 7, kTokens);
  for (const auto& tokens : many) EXPECT_EQ(tokens, many.front());
}

// 20 sequences and 17 are the same recorded step of 24 rows.
TEST_P(GpuWorkerTest, ARecordedStepServesFewerSequences) {
  constexpr SequenceId kCount = 20;
  const auto all = Pipelined(1, kCount, kTokens);
  ASSERT_TRUE(rig_->BeginEpoch(2).ok());
  StepPlan plan;
  for (SequenceId id = 1; id <= kCount; ++id) {
    plan.starts.push_back({id, {}, 0, static_cast<int64_t>(prompt_.size())});
    plan.chunks.push_back({id, 0, prompt_, true, {}});
  }
  for (size_t step = 0; step < kTokens; ++step) {
    const auto results = rig_->Step(plan);
    ASSERT_TRUE(results.ok()) << results.status();
    for (const SequenceResult& one : results->front().sequences) {
      EXPECT_EQ(one.token, all[one.sequence - 1][step]) << "sequence " << one.sequence;
    }
    plan = StepPlan();
    const SequenceId gone = std::min<SequenceId>(step, 3);
    if (step >= 1 && step <= 3) plan.releases = {gone};
    for (SequenceId id = gone + 1; id <= kCount; ++id) {
      const auto position = static_cast<int64_t>(prompt_.size() + step);
      plan.chunks.push_back({id, position, {}, true, {}});
    }
  }
}

TEST_P(GpuWorkerTest, AnEpochMayEndWithStepsInFlight) {
  const auto expected = Pipelined(1, 3, kTokens);
  for (Epoch epoch = 2; epoch < 8; ++epoch) {
    ASSERT_TRUE(rig_->BeginEpoch(epoch).ok());
    Pipelined(epoch, 3, epoch);  // one more step each time
    rig_->worker().EndEpoch();
    EXPECT_EQ(rig_->worker().in_flight(), 0u);
    EXPECT_TRUE(rig_->worker().CheckPages().ok());
  }
  ASSERT_TRUE(rig_->BeginEpoch(9).ok());
  EXPECT_EQ(Pipelined(9, 3, kTokens), expected);
  EXPECT_TRUE(rig_->worker().CheckPages().ok());
}

TEST_P(GpuWorkerTest, TheDeviceTellsItsTimes) {
  Worker& worker = rig_->worker();
  for (StepId step = 1; step <= 4; ++step) ASSERT_TRUE(rig_->Step(PlanOf(step)).ok());
  ASSERT_TRUE(worker.Submit(PlanOf(5)).ok());
  absl::Duration busy, idle, total;
  for (StepId step = 6; step <= 20; ++step) {
    ASSERT_TRUE(worker.Submit(PlanOf(step)).ok());
    const auto result = worker.Await();
    ASSERT_TRUE(result.ok() && result->times.device.has_value()) << result.status();
    EXPECT_GT(result->times.device->busy, absl::ZeroDuration());
    EXPECT_GE(result->times.device->idle, absl::ZeroDuration());
    busy += result->times.device->busy;
    idle += result->times.device->idle;
    total += result->times.total;
  }
  EXPECT_LT(busy + idle, total + absl::Milliseconds(1));
  ASSERT_TRUE(worker.Await().ok());
  StepPlan release;
  release.releases = {1};
  release.epoch = 1;
  release.step = 21;
  ASSERT_TRUE(worker.Submit(release).ok());
  const auto released = worker.Await();
  ASSERT_TRUE(released.ok());
  EXPECT_FALSE(released->times.device.has_value());  // it computed nothing
}

// Every step after a pause: nobody can tell what the host did in between.
TEST_P(GpuWorkerTest, APauseIsNoIdleTime) {
  for (StepId step = 1; step <= 4; ++step) {
    absl::SleepFor(absl::Milliseconds(5));
    const auto results = rig_->Step(PlanOf(step));
    ASSERT_TRUE(results.ok()) << results.status();
    ASSERT_TRUE(results->front().times.device.has_value());
    EXPECT_EQ(results->front().times.device->idle, absl::ZeroDuration());
  }
}

TEST_P(GpuWorkerTest, CachesAndBuffersAreCounted) {
  const auto begun = rig_->Step(PlanOf(1));
  ASSERT_TRUE(begun.ok()) << begun.status();
  const QueueStats none = QueueOf(begun->front(), "step_graphs");
  EXPECT_EQ(none.size, 0u);  // a new epoch has none
  EXPECT_EQ(none.limit, 128u);
  const auto decoded = rig_->Step(PlanOf(2));
  ASSERT_TRUE(decoded.ok()) << decoded.status();
  const StepResult& result = decoded->front();
  EXPECT_EQ(QueueOf(result, "step_graphs").size, 1u);
  EXPECT_EQ(QueueOf(result, "matmul_plans").limit, 4096u);
  EXPECT_EQ(QueueOf(result, "sequences").size, 1u);
  EXPECT_LT(QueueOf(result, "sequences").limit, uint64_t{1} << 30);
  for (const char* name : {"step_upload_bytes", "page_upload_bytes", "sample_upload_bytes"}) {
    EXPECT_GT(QueueOf(result, name).size, 0u) << name;
    EXPECT_LE(QueueOf(result, name).size, QueueOf(result, name).limit) << name;
  }
}

// The scheduler hears of a token one step late: a sequence may be released when its next step has
// been submitted.
TEST_P(GpuWorkerTest, ASequenceIsReleasedWhileItsStepIsInFlight) {
  Worker& worker = rig_->worker();
  StepPlan plan;
  plan.epoch = 1;
  plan.step = 1;
  plan.starts.push_back({1, {}, 0, static_cast<int64_t>(prompt_.size())});
  plan.chunks.push_back({1, 0, prompt_, true, {}});
  ASSERT_TRUE(worker.Submit(plan).ok());
  StepPlan next;
  next.epoch = 1;
  next.step = 2;
  next.releases = {1};
  next.starts.push_back({2, {}, 0, static_cast<int64_t>(prompt_.size())});
  next.chunks.push_back({2, 0, prompt_, true, {}});
  ASSERT_TRUE(worker.Submit(next).ok());
  const auto first = worker.Await(), second = worker.Await();
  ASSERT_TRUE(first.ok() && second.ok());
  EXPECT_EQ(first->sequences.front().token, second->sequences.front().token);
  EXPECT_TRUE(worker.CheckPages().ok());
}

// With the plain kernels, and with those of heads as large as real models have.
INSTANTIATE_TEST_SUITE_P(Models, GpuWorkerTest, testing::Values("llama3", "qwen3_128"));

}  // namespace
}  // namespace headgate
