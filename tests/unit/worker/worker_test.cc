// What a worker does with plans that are wrong, with pages, and with what it says of itself.
#include "worker/worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "tests/test_folder.h"
#include "tests/unit/worker/group_rig.h"
#include "worker/format/checkpoint.h"

namespace headgate {
namespace {

using testing::HasSubstr;

std::unique_ptr<GroupRig> MakeRig(const WorkerOptions& options, int ranks = 1) {
  auto rig = GroupRig::Create(options, ranks);
  EXPECT_TRUE(rig.ok()) << rig.status();
  return rig.ok() ? *std::move(rig) : nullptr;
}

StepPlan StartPlan(SequenceId id, std::vector<TokenId> tokens) {
  StepPlan plan;
  plan.starts.push_back({id, {}, 0, static_cast<int64_t>(tokens.size())});
  plan.chunks.push_back({id, 0, std::move(tokens), true, {}});
  return plan;
}

TEST(WorkerTest, BrokenPlansAreRefusedAndNothingChanges) {
  auto rig = MakeRig(StoryOptions());
  ASSERT_TRUE(rig->Step(StartPlan(1, {1, 2, 3})).ok());
  const auto expect_refused = [&](StepPlan plan, const std::string& why) {
    const auto result = rig->Step(std::move(plan));
    EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition) << why;
    EXPECT_THAT(std::string(result.status().message()), HasSubstr(why));
  };
  const auto chunk = [](Chunk c) {
    StepPlan plan;
    plan.chunks.push_back(std::move(c));
    return plan;
  };
  expect_refused(chunk({9, 0, {1}, true, {}}), "unknown");
  expect_refused(chunk({1, 2, {1}, true, {}}), "continues at 2, expected 3");
  expect_refused(chunk({1, 3, {512}, true, {}}), "outside the vocabulary");
  expect_refused(chunk({1, 3, {-1}, true, {}}), "outside the vocabulary");
  expect_refused(chunk({1, 3, std::vector<TokenId>(510, 1), true, {}}), "beyond 512 positions");
  expect_refused(chunk({1, 3, {1, 2}, false, {4}}), "scores 1 targets in a chunk of 2");
  expect_refused(chunk({1, 3, {1, 2}, false, {4, 512}}), "scores a token outside");
  expect_refused(StartPlan(1, {1}), "started twice");
  StepPlan twice = chunk({1, 3, {}, true, {}});
  twice.chunks.push_back({1, 4, {}, true, {}});
  expect_refused(twice, "two chunks");
  StepPlan release;
  release.releases = {2};
  expect_refused(release, "released but unknown");
  release.releases = {1, 1};
  expect_refused(release, "released twice");
  StepPlan unsampled = StartPlan(2, {5, 6});
  unsampled.chunks[0].tokens.clear();
  expect_refused(unsampled, "sampled nothing");
  const auto next = rig->Step(chunk({1, 3, {}, true, {}}));
  ASSERT_TRUE(next.ok()) << next.status();
  EXPECT_EQ((*next)[0].sequences[0].pages_held, (*next)[0].pages.referenced());
}

TEST(WorkerTest, TooManyTokensForAStepAreRefused) {
  WorkerOptions options = StoryOptions();
  options.step_tokens_max = 8;
  auto rig = MakeRig(options);
  EXPECT_EQ(rig->Step(StartPlan(1, std::vector<TokenId>(9, 1))).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(rig->Step(StartPlan(1, std::vector<TokenId>(8, 1))).ok());
}

TEST(WorkerTest, StepsAndEpochsMustFollow) {
  auto rig = MakeRig(StoryOptions());
  Worker& worker = rig->worker();
  StepPlan plan = StartPlan(1, {1});
  plan.epoch = 1;
  plan.step = 2;
  EXPECT_EQ(worker.Submit(plan).code(), absl::StatusCode::kFailedPrecondition);
  plan.epoch = 2;
  plan.step = 1;
  EXPECT_EQ(worker.Submit(plan).code(), absl::StatusCode::kFailedPrecondition);
  plan.epoch = 1;
  EXPECT_TRUE(worker.Submit(plan).ok());
  worker.EndEpoch();
  plan.step = 2;
  EXPECT_EQ(worker.Submit(plan).code(), absl::StatusCode::kFailedPrecondition);
}

TEST(WorkerTest, RunningOutOfPagesIsRefusedAndANewEpochBeginsEmpty) {
  WorkerOptions options = StoryOptions();
  options.pages.pages = 40;  // 5 layers x 4 heads: two pages each
  auto rig = MakeRig(options);
  const auto result = rig->Step(StartPlan(1, std::vector<TokenId>(33, 1)));
  EXPECT_EQ(result.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(rig->Step({}).ok());  // the epoch is over
  ASSERT_TRUE(rig->BeginEpoch(2).ok());
  const auto fits = rig->Step(StartPlan(1, std::vector<TokenId>(32, 1)));
  ASSERT_TRUE(fits.ok()) << fits.status();
  EXPECT_EQ(fits->front().pages.free, 0u);
  EXPECT_EQ(fits->front().sequences[0].pages_held, 40u);
  ASSERT_TRUE(rig->BeginEpoch(3).ok());
  EXPECT_EQ(rig->Step({})->front().pages.free, 40u);
}

TEST(WorkerTest, ReleasedPagesComeBack) {
  auto rig = MakeRig(StoryOptions(), 2);
  ASSERT_TRUE(rig->Step(StartPlan(1, std::vector<TokenId>(40, 1))).ok());
  const auto second = rig->Step(StartPlan(2, std::vector<TokenId>(5, 1)));
  ASSERT_TRUE(second.ok());
  for (const StepResult& result : *second) {  // 2 heads a rank and layer
    EXPECT_EQ(result.pages.referenced_full, 5u * 2 * (3 + 1));
    EXPECT_EQ(result.sequences[0].pages_held, 5u * 2);
  }
  ASSERT_TRUE(rig->Release(1).ok());
  ASSERT_TRUE(rig->Release(2).ok());
  const auto empty = rig->Step({});
  for (const StepResult& result : *empty) {
    EXPECT_EQ(result.pages.free, result.pages.total);
    EXPECT_EQ(result.pages.freed_by_release, 5u * 2 * (3 + 1));
  }
}

TEST(WorkerTest, OnlyRankZeroFillsTokens) {
  auto rig = MakeRig(StoryOptions(), 3);
  StepPlan plan = StartPlan(1, {1, 2, 3});
  plan.starts[0].sampling.top_logprobs = 4;
  plan.chunks[0].score_targets = {2, 3, kNoTarget};
  const auto results = rig->Step(plan);
  ASSERT_TRUE(results.ok()) << results.status();
  const SequenceResult& root = (*results)[0].sequences[0];
  EXPECT_TRUE(root.sampled);
  EXPECT_EQ(root.top.size(), 4u);
  ASSERT_EQ(root.score_logprobs.size(), 3u);
  EXPECT_LT(root.score_logprobs[1], 0.0f);
  EXPECT_EQ(root.score_logprobs[2], 0.0f);
  EXPECT_FALSE((*results)[1].sequences[0].sampled);
  EXPECT_TRUE((*results)[2].sequences[0].score_logprobs.empty());
  EXPECT_GT((*results)[0].times.total, absl::ZeroDuration());
  EXPECT_GT((*results)[0].times.dense, absl::ZeroDuration());
}

// The CPU has no clock of its own: a step is done when Submit returns.
TEST(WorkerTest, TellsItsLimitsAndNoTimesOfADevice) {
  auto rig = MakeRig(StoryOptions());
  Worker& worker = rig->worker();
  StepPlan plan = StartPlan(1, {1, 2, 3});
  plan.epoch = 1;
  plan.step = 1;
  StepPlan next;
  next.epoch = 1;
  next.step = 2;
  next.chunks.push_back({1, 3, {}, true, {}});
  ASSERT_TRUE(worker.Submit(plan).ok());
  ASSERT_TRUE(worker.Submit(next).ok());
  const auto first = worker.Await(), second = worker.Await();
  ASSERT_TRUE(first.ok() && second.ok());
  constexpr auto kUnlimited = static_cast<uint64_t>(kSequencesUnlimited);
  EXPECT_THAT(first->queues, testing::ElementsAre(QueueStats{"steps_in_flight", 2, 2},
                                                  QueueStats{"sequences", 1, kUnlimited}));
  EXPECT_THAT(second->queues, testing::Contains(QueueStats{"steps_in_flight", 1, 2}));
  EXPECT_FALSE(first->times.device.has_value());
}

// Penalties and random numbers continue as if the sequence had never been away.
TEST(WorkerTest, ReplayContinuesPenaltiesAndRandomNumbers) {
  auto rig = MakeRig(StoryOptions());
  const SamplingParams sampling{.temperature = 0.9f,
                                .top_p = 0.95f,
                                .repetition_penalty = 1.1f,
                                .presence_penalty = 0.3f,
                                .frequency_penalty = 0.4f,
                                .seed = 11};
  const std::vector<TokenId> prompt = {1, 403, 407};
  const auto whole = rig->Generate(1, prompt, 60, 16, sampling);
  ASSERT_TRUE(whole.ok()) << whole.status();
  const std::vector<TokenId> tokens = Tokens(*whole);
  for (const size_t cut : {1u, 17u, 40u}) {
    const std::vector<TokenId> emitted(tokens.begin(),
                                       tokens.begin() + static_cast<std::ptrdiff_t>(cut));
    const auto rest =
        rig->Generate(100 + cut, prompt, 60 - static_cast<int64_t>(cut), 5, sampling, emitted);
    ASSERT_TRUE(rest.ok()) << rest.status();
    const std::vector<TokenId> again = Tokens(*rest);
    EXPECT_TRUE(std::equal(again.begin(), again.end(), tokens.begin() + cut)) << "cut at " << cut;
  }
}

// A model in which the embedding of token 7 is NaN; its output head is another matrix.
TEST(WorkerTest, NonFiniteLogitsFailTheirSequenceOnly) {
  WorkerOptions options = SmallOptions(TestModel("llama3"));  // untied
  const TestFolder folder;
  folder.CopyFrom(TestModel("llama3"));
  {
    const auto checkpoint = Checkpoint::Open(folder.path());
    ASSERT_TRUE(checkpoint.ok());
    const TensorInfo* table = checkpoint->Find("model.embed_tokens.weight");
    const std::vector<char> nan(static_cast<size_t>(table->bytes / 300), '\xff');
    std::fstream file(folder.At("model.safetensors"),
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(static_cast<std::streamoff>(table->file_offset + 7 * nan.size()));
    file.write(nan.data(), static_cast<std::streamsize>(nan.size()));
  }
  auto healthy = MakeRig(options);
  const auto expected = healthy->Generate(1, {5, 6, 8}, 6, 16);
  options.model = ModelFolder{folder.path()};
  options.pages.pages = 64;  // small, so that pages are reused
  auto rig = MakeRig(options, 2);
  for (int round = 0; round < 6; ++round) {
    const SequenceId bad = static_cast<SequenceId>(10 * round + 1), good = bad + 1;
    StepPlan plan = StartPlan(bad, {5, 7, 8});
    const StepPlan other = StartPlan(good, {5, 6, 8});
    plan.starts.push_back(other.starts[0]);
    plan.chunks.push_back(other.chunks[0]);
    std::vector<TokenId> tokens;
    for (int64_t step = 0; step < 6; ++step) {
      const auto results = rig->Step(plan);
      ASSERT_TRUE(results.ok()) << results.status();
      const auto& sequences = (*results)[0].sequences;
      EXPECT_TRUE(sequences[0].failed);
      EXPECT_FALSE(sequences[0].sampled);
      EXPECT_FALSE(sequences[1].failed);
      tokens.push_back(sequences[1].token);
      plan = StepPlan();
      plan.chunks = {{bad, 3 + step, {}, true, {}}, {good, 3 + step, {}, true, {}}};
    }
    EXPECT_EQ(tokens, Tokens(*expected)) << "round " << round;
    plan = StepPlan();
    plan.releases = {bad, good};
    ASSERT_TRUE(rig->Step(plan).ok());
  }
}

TEST(WorkerTest, ProfileDescribesRankAndModel) {
  WorkerOptions options = StoryOptions();
  options.positions_max = 100;
  auto rig = MakeRig(options, 3);
  const RankProfile profile = rig->worker(0).Profile();
  EXPECT_EQ(profile.model, "stories260k");
  EXPECT_EQ(profile.vocab, 512);
  EXPECT_EQ(profile.max_positions, 100);
  EXPECT_EQ(profile.page_tokens, 16);
  EXPECT_EQ(profile.shape.page_bytes, 2u * 16 * 8 * 4);
  EXPECT_EQ(profile.shape.pages_total, 20000u);
  EXPECT_EQ(profile.shape.sequences_max, kSequencesUnlimited);
  uint32_t rows = 0;
  for (int rank = 0; rank < 3; ++rank) rows += rig->worker(rank).Profile().shape.rows[0].rows;
  EXPECT_EQ(rows, 20u);  // 5 layers x 4 kv heads, uneven over 3 ranks
  EXPECT_THAT(rig->worker().Describe(), HasSubstr("thread"));
}

TEST(WorkerTest, RanksWithOtherOptionsDoNotStart) {
  WorkerOptions options = StoryOptions();
  options.ranks = 2;
  LocalGroup group(2, absl::Seconds(20));
  std::vector<absl::Status> statuses(2);
  std::vector<std::thread> threads;
  for (int rank = 0; rank < 2; ++rank) {
    WorkerOptions mine = options;
    mine.rank = rank;
    mine.page_tokens = rank == 0 ? 16 : 32;
    threads.emplace_back([&, mine, rank] {
      auto worker = Worker::Create(mine, [](std::string_view, double) {});
      ASSERT_TRUE(worker.ok()) << worker.status();
      statuses[static_cast<size_t>(rank)] = (*worker)->BeginEpoch(1, group.Join(rank));
    });
  }
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(statuses[1].code(), absl::StatusCode::kFailedPrecondition);
}

// The tokens of a step feed the next one before anybody has seen them.
TEST(WorkerTest, TheNextStepIsSubmittedBeforeTheLastIsAwaited) {
  auto rig = MakeRig(StoryOptions());
  const std::vector<TokenId> prompt = {1, 403, 407};
  const auto alone = rig->Generate(1, prompt, 6, 8);
  ASSERT_TRUE(alone.ok()) << alone.status();
  ASSERT_TRUE(rig->BeginEpoch(2).ok());
  Worker& worker = rig->worker();
  StepPlan plan = StartPlan(7, prompt);
  plan.epoch = 2;
  std::vector<TokenId> tokens;
  for (StepId step = 1; step <= 6; ++step) {
    plan.step = step;
    ASSERT_TRUE(worker.Submit(plan).ok());
    if (worker.in_flight() == Worker::kStepsInFlightMax) {
      tokens.push_back(worker.Await().value().sequences.front().token);
    }
    plan = StepPlan();
    plan.epoch = 2;
    plan.chunks.push_back({7, 2 + static_cast<int64_t>(step), {}, true, {}});
  }
  const StepResult last = worker.Await().value();
  EXPECT_EQ(last.step, 6u);
  tokens.push_back(last.sequences.front().token);
  EXPECT_EQ(tokens, Tokens(*alone));
  EXPECT_EQ(worker.in_flight(), 0u);
}

TEST(WorkerTest, LostPeerIsUnavailable) {
  WorkerOptions options = StoryOptions();
  options.ranks = 2;
  auto worker = Worker::Create(options, [](std::string_view, double) {});
  ASSERT_TRUE(worker.ok());
  LocalGroup group(2, absl::Seconds(20));
  auto peer = group.Join(1);
  std::thread begin([&] {
    uint64_t word = 0;
    EXPECT_TRUE(peer->Broadcast(std::as_writable_bytes(std::span(&word, 1))).ok());
    peer.reset();
  });
  ASSERT_TRUE((*worker)->BeginEpoch(1, group.Join(0)).ok());
  begin.join();
  StepPlan plan = StartPlan(1, {1, 2});
  plan.epoch = 1;
  plan.step = 1;
  EXPECT_EQ((*worker)->Submit(plan).code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE((*worker)->CheckPages().ok());
}

TEST(WorkerTest, BadOptionsAreNamed) {
  const auto code = [](const WorkerOptions& options) { return Worker::Check(options).code(); };
  WorkerOptions options = StoryOptions();
  EXPECT_EQ(code(options), absl::StatusCode::kOk);
  options.model = ModelFolder{TestModel("missing")};
  EXPECT_EQ(code(options), absl::StatusCode::kNotFound);
  options = StoryOptions();
  options.weights = "int3";
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = StoryOptions();
  options.isa = "sse";
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = StoryOptions();
  options.step_tokens_max = 0;
  EXPECT_EQ(code(options), absl::StatusCode::kInvalidArgument);
  options = StoryOptions();
  options.policy_dir = "/nowhere";
  EXPECT_NE(code(options), absl::StatusCode::kOk);
  options = StoryOptions();
  options.ranks = 5;  // 4 kv heads
  const auto worker = Worker::Create(options, [](std::string_view, double) {});
  EXPECT_EQ(worker.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace headgate
