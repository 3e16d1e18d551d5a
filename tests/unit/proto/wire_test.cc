// Round trips of every wire message, refusals that name the field, and random mutation.
#include "proto/wire.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <random>

namespace headgate {
namespace {

using ::testing::HasSubstr;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInf = std::numeric_limits<float>::infinity();

SamplingParams SomeSampling() {
  return {.temperature = 0.7f,
          .top_k = 40,
          .top_p = 0.9f,
          .min_p = 0.05f,
          .repetition_penalty = 1.1f,
          .presence_penalty = -0.5f,
          .frequency_penalty = 0.5f,
          .seed = 0xffffffffffffffffULL,
          .top_logprobs = 3};
}

StepPlan SomePlan() {
  StepPlan plan;
  plan.epoch = 7;
  plan.step = 3;
  plan.releases = {11, 12};
  plan.starts = {{21, SomeSampling(), 5, 9}};
  plan.chunks = {
      {.sequence = 21, .position = 0, .tokens = {1, 2, 3}, .sample = true, .score_targets = {}},
      {.sequence = 22, .position = 40, .tokens = {}, .sample = true, .score_targets = {}},
      {.sequence = 23,
       .position = 8,
       .tokens = {4, 5},
       .sample = false,
       .score_targets = {5, kNoTarget}}};
  return plan;
}

StepResult SomeResult() {
  StepResult result;
  result.epoch = 7;
  result.step = 3;
  SequenceResult sequence;
  sequence.sequence = 21;
  sequence.sampled = true;
  sequence.token = 99;
  sequence.logprob = -1.5f;
  sequence.top = {{99, -1.5f}, {4, -2.0f}};
  sequence.score_logprobs = {-0.25f, 0.0f};
  sequence.score_top = {4, kNoTarget};
  sequence.pages_held = 12;
  sequence.failed = true;
  result.sequences = {sequence, SequenceResult{}};
  result.sequences[1].sequence = 22;
  result.pages = {.total = 100,
                  .free = 50,
                  .referenced_full = 20,
                  .referenced_streaming = 10,
                  .referenced_gated = 5,
                  .pending_free = 15,
                  .peak_referenced = 60,
                  .freed_by_policy = 1000,
                  .freed_by_release = 2000,
                  .page_bytes = 4096};
  result.times = {absl::Milliseconds(5), absl::Microseconds(1500),
                  absl::Milliseconds(2), absl::Nanoseconds(77),
                  absl::Microseconds(9), DeviceTimes{absl::Milliseconds(4), absl::Nanoseconds(55)}};
  result.queues = {{"inbox", 1, 256}, {"unsent_replies", 2, 3}};
  return result;
}

Request SomeRequest(absl::Time now) {
  Request request;
  request.id = 5;
  request.tenant = "acme";
  request.priority = -3;
  request.prompt = {1, 2, 3};
  request.emitted = {4};
  request.max_tokens = 64;
  request.stop_tokens = {2, 0};
  request.sampling = SomeSampling();
  request.deadline = now + absl::Seconds(90);
  return request;
}

TokenEvent SomeEvent() {
  TokenEvent event;
  event.request = 8;
  event.has_token = true;
  event.token_index = 3;
  event.token = 77;
  event.logprob = -0.5f;
  event.top = {{77, -0.5f}};
  event.prompt_logprobs = {-1.0f, -2.0f};
  event.prompt_top = {5, 6};
  event.finish = FinishReason::kError;
  event.status = absl::ResourceExhaustedError("queue is full");
  event.retry_after = absl::Milliseconds(250);
  return event;
}

RankReady SomeReady() {
  RankReady ready;
  ready.epoch = 9;
  ready.shape.pages_total = 1000;
  ready.shape.page_bytes = 4096;
  ready.shape.sequences_max = 1024;
  ready.shape.rows = {{HeadClass::kFull, 3, 0, 0}, {HeadClass::kStreaming, 5, 16, 64}};
  ready.page_tokens = 16;
  ready.max_positions = 2048;
  ready.vocab = 512;
  ready.model = "tiny@1234";
  return ready;
}

template <typename Wire, typename Base>
Wire MakeWire(const Base& base) {
  Wire wire;
  ToWire(base, wire);
  return wire;
}

internal::Request MakeRequestWire() {
  internal::Request wire;
  ToWire(SomeRequest(absl::UnixEpoch()), absl::UnixEpoch(), wire);
  return wire;
}

void ExpectRefused(const absl::Status& status, const std::string& field) {
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  EXPECT_THAT(std::string(status.message()), HasSubstr(field));
}

TEST(Wire, StepPlanRoundTrip) {
  const auto plan = FromWire(MakeWire<internal::StepPlan>(SomePlan()));
  ASSERT_TRUE(plan.ok()) << plan.status();
  EXPECT_EQ(*plan, SomePlan());
}

TEST(Wire, StepResultRoundTrip) {
  const auto result = FromWire(MakeWire<internal::StepResult>(SomeResult()));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*result, SomeResult());
}

TEST(Wire, ADeviceWithoutAClockStaysWithoutOne) {
  StepResult sent = SomeResult();
  sent.times.device = std::nullopt;
  const auto result = FromWire(MakeWire<internal::StepResult>(sent));
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_FALSE(result->times.device.has_value());
  sent.times.device.emplace();  // all zero
  EXPECT_EQ(*FromWire(MakeWire<internal::StepResult>(sent)), sent);
}

TEST(Wire, ReadyRoundTrip) {
  const auto ready = FromWire(MakeWire<internal::Ready>(SomeReady()));
  ASSERT_TRUE(ready.ok()) << ready.status();
  EXPECT_EQ(ready->shape, SomeReady().shape);
  EXPECT_EQ(ready->epoch, 9u);
  EXPECT_EQ(ready->page_tokens, 16);
  EXPECT_EQ(ready->max_positions, 2048);
  EXPECT_EQ(ready->vocab, 512);
  EXPECT_EQ(ready->model, "tiny@1234");
}

TEST(Wire, RequestDeadlineTravelsAsTimeLeft) {
  const absl::Time sender = absl::UnixEpoch() + absl::Hours(5);
  const absl::Time receiver = absl::UnixEpoch();
  const Request sent = SomeRequest(sender);
  internal::Request wire;
  ToWire(sent, sender, wire);
  const auto got = FromWire(wire, receiver);
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_EQ(got->deadline, receiver + absl::Seconds(90));
  EXPECT_EQ(got->id, sent.id);
  EXPECT_EQ(got->tenant, sent.tenant);
  EXPECT_EQ(got->priority, sent.priority);
  EXPECT_EQ(got->prompt, sent.prompt);
  EXPECT_EQ(got->emitted, sent.emitted);
  EXPECT_EQ(got->max_tokens, sent.max_tokens);
  EXPECT_EQ(got->stop_tokens, sent.stop_tokens);
  EXPECT_EQ(got->sampling, sent.sampling);
}

TEST(Wire, RequestWithoutOrPastDeadline) {
  Request request = SomeRequest(absl::UnixEpoch());
  request.deadline = absl::InfiniteFuture();
  internal::Request wire;
  ToWire(request, absl::UnixEpoch(), wire);
  EXPECT_EQ(FromWire(wire, absl::UnixEpoch())->deadline, absl::InfiniteFuture());
  request.deadline = absl::UnixEpoch() - absl::Hours(1);
  ToWire(request, absl::UnixEpoch(), wire);
  EXPECT_EQ(FromWire(wire, absl::UnixEpoch())->deadline, absl::UnixEpoch());
}

TEST(Wire, TokenEventRoundTrip) {
  const auto event = FromWire(MakeWire<internal::TokenEvent>(SomeEvent()));
  ASSERT_TRUE(event.ok()) << event.status();
  EXPECT_EQ(event->request, 8u);
  EXPECT_TRUE(event->has_token);
  EXPECT_EQ(event->token_index, 3);
  EXPECT_EQ(event->token, 77);
  EXPECT_EQ(event->logprob, -0.5f);
  EXPECT_EQ(event->top, SomeEvent().top);
  EXPECT_EQ(event->prompt_logprobs, SomeEvent().prompt_logprobs);
  EXPECT_EQ(event->prompt_top, SomeEvent().prompt_top);
  EXPECT_EQ(event->finish, FinishReason::kError);
  EXPECT_EQ(event->status, SomeEvent().status);
  EXPECT_EQ(event->retry_after, absl::Milliseconds(250));
}

TEST(Wire, LoadKeepsWhatTravelsAndSkipsBadRanks) {
  SchedulerStats stats;
  stats.requests_waiting = 4;
  stats.groups_ready = 1;
  RankStats rank;
  rank.group = 1;
  rank.rank = 2;
  rank.pages = SomeResult().pages;
  stats.ranks = {rank};
  auto wire = MakeWire<internal::Load>(stats);
  wire.add_ranks()->set_group(-1);
  const SchedulerStats got = FromWire(wire);
  EXPECT_EQ(got.requests_waiting, 4u);
  EXPECT_EQ(got.groups_ready, 1u);
  ASSERT_EQ(got.ranks.size(), 1u);
  EXPECT_EQ(got.ranks[0].pages, rank.pages);
}

TEST(Wire, RefusesSamplingOutOfRange) {
  for (float bad : {kNan, kInf, -kInf, -1.0f, 100.5f}) {
    auto wire = MakeWire<internal::StepPlan>(SomePlan());
    wire.mutable_starts(0)->mutable_sampling()->set_temperature(bad);
    ExpectRefused(FromWire(wire).status(), "temperature");
  }
  for (float bad : {kNan, 0.0f, -0.0f, 1.01f}) {
    auto wire = MakeRequestWire();
    wire.mutable_sampling()->set_top_p(bad);
    ExpectRefused(FromWire(wire, absl::UnixEpoch()).status(), "top_p");
  }
  auto wire = MakeRequestWire();
  wire.mutable_sampling()->set_top_logprobs(21);
  ExpectRefused(FromWire(wire, absl::UnixEpoch()).status(), "top_logprobs");
}

TEST(Wire, RefusesBadPlans) {
  auto wire = MakeWire<internal::StepPlan>(SomePlan());
  wire.set_epoch(0);
  ExpectRefused(FromWire(wire).status(), "epoch");
  wire = MakeWire<internal::StepPlan>(SomePlan());
  wire.mutable_chunks(0)->set_tokens(1, -5);
  ExpectRefused(FromWire(wire).status(), "chunk.tokens");
  wire = MakeWire<internal::StepPlan>(SomePlan());
  wire.mutable_chunks(1)->set_position(-1);
  ExpectRefused(FromWire(wire).status(), "chunk.position");
  wire = MakeWire<internal::StepPlan>(SomePlan());
  wire.mutable_chunks(2)->add_score_targets(1);
  ExpectRefused(FromWire(wire).status(), "score_targets");
  wire = MakeWire<internal::StepPlan>(SomePlan());
  wire.mutable_chunks(1)->set_sequence(21);
  ExpectRefused(FromWire(wire).status(), "two chunks");
}

TEST(Wire, RefusesBadResults) {
  auto wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_sequences(0)->set_logprob(kNan);
  ExpectRefused(FromWire(wire).status(), "result.logprob");
  wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_sequences(0)->mutable_top(1)->set_logprob(kInf);
  ExpectRefused(FromWire(wire).status(), "top.logprob");
  wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_pages()->set_free(51);
  ExpectRefused(FromWire(wire).status(), "pages.total");
  wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_times()->set_dense_ns(-1);
  ExpectRefused(FromWire(wire).status(), "times");
  wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_times()->mutable_device()->set_busy_ns(-1);
  ExpectRefused(FromWire(wire).status(), "times");
  wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_times()->mutable_device()->set_idle_ns(std::numeric_limits<int64_t>::max());
  ExpectRefused(FromWire(wire).status(), "times");
}

// Their names become labels of the scheduler's page.
TEST(Wire, RefusesQueuesThatBreakAPage) {
  const auto refused = [](const internal::StepResult& wire, const std::string& field) {
    ExpectRefused(FromWire(wire).status(), field);
  };
  const std::string long_name(65, 'a');
  for (const std::string& name :
       {std::string(), long_name, std::string("Inbox"), std::string("a\"} 1\n"),
        std::string("a\0b", 3), std::string("\xc3\xa4")}) {
    auto wire = MakeWire<internal::StepResult>(SomeResult());
    wire.mutable_queues(0)->set_name(name);
    refused(wire, "queue.name");
  }
  auto wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_queues(1)->set_name("inbox");
  refused(wire, "twice");
  wire = MakeWire<internal::StepResult>(SomeResult());
  wire.mutable_queues(0)->set_size(257);
  refused(wire, "queue.size");
  constexpr uint64_t kBeyond = uint64_t{1} << 63;
  wire.mutable_queues(0)->set_size(kBeyond);
  refused(wire, "queue.size");
  for (const uint64_t limit : {uint64_t{0}, kBeyond}) {
    wire = MakeWire<internal::StepResult>(SomeResult());
    wire.mutable_queues(0)->set_limit(limit);
    refused(wire, "queue.limit");
  }
}

TEST(Wire, TakesAsManyQueuesAsItsLimit) {
  StepResult sent = SomeResult();
  sent.queues.clear();
  for (int i = 0; i < 64; ++i) sent.queues.push_back({"queue_" + std::to_string(i), 0, 1});
  sent.queues[0].name = std::string(64, 'a');
  sent.queues[1].size = sent.queues[1].limit = (uint64_t{1} << 63) - 1;
  EXPECT_EQ(*FromWire(MakeWire<internal::StepResult>(sent)), sent);
  sent.queues.push_back({"one_more", 0, 1});
  ExpectRefused(FromWire(MakeWire<internal::StepResult>(sent)).status(), "result.queues");
}

TEST(Wire, RefusesBadReady) {
  auto wire = MakeWire<internal::Ready>(SomeReady());
  wire.mutable_rows(1)->set_window(65);
  ExpectRefused(FromWire(wire).status(), "whole pages");
  wire = MakeWire<internal::Ready>(SomeReady());
  wire.mutable_rows(1)->set_head_class(3);
  ExpectRefused(FromWire(wire).status(), "head_class");
  wire = MakeWire<internal::Ready>(SomeReady());
  wire.set_page_tokens(0);
  ExpectRefused(FromWire(wire).status(), "page_tokens");
  for (const int64_t sequences_max : {int64_t{-1}, int64_t{0}, kSequencesUnlimited + 1}) {
    wire = MakeWire<internal::Ready>(SomeReady());
    wire.set_sequences_max(sequences_max);
    ExpectRefused(FromWire(wire).status(), "sequences_max");
  }
}

TEST(Wire, RefusesBadRequestsAndEvents) {
  auto request = MakeRequestWire();
  request.clear_prompt();
  ExpectRefused(FromWire(request, absl::UnixEpoch()).status(), "prompt");
  request = MakeRequestWire();
  request.set_max_tokens(0);
  ExpectRefused(FromWire(request, absl::UnixEpoch()).status(), "max_tokens");
  request = MakeRequestWire();
  request.set_deadline_ms(-1);
  ExpectRefused(FromWire(request, absl::UnixEpoch()).status(), "deadline_ms");
  auto event = MakeWire<internal::TokenEvent>(SomeEvent());
  event.set_finish(4);
  ExpectRefused(FromWire(event).status(), "finish");
  event = MakeWire<internal::TokenEvent>(SomeEvent());
  event.set_status_code(0);
  ExpectRefused(FromWire(event).status(), "status_code");
  event = MakeWire<internal::TokenEvent>(SomeEvent());
  event.set_status_code(17);
  ExpectRefused(FromWire(event).status(), "status_code");
}

// Flips, cuts and repeats bytes: conversion answers or refuses, never crashes, and what it accepts
// survives another round trip.
template <typename Wire, typename Convert>
void Mutate(const Wire& seed_message, uint32_t seed, Convert convert) {
  std::mt19937 random(seed);
  const std::string seed_bytes = seed_message.SerializeAsString();
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string bytes = seed_bytes;
    for (uint32_t edits = random() % 4 + 1; edits > 0 && !bytes.empty(); --edits) {
      const size_t at = random() % bytes.size();
      switch (random() % 3) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, random() % 8 + 1);
          break;
        default:
          bytes.insert(at, bytes.substr(at, random() % 8));
      }
    }
    Wire wire;
    if (!wire.ParseFromString(bytes)) continue;
    if (convert(wire)) ++accepted;
  }
  EXPECT_GT(accepted, 0);
}

TEST(Wire, SurvivesMutation) {
  Mutate(MakeWire<internal::StepPlan>(SomePlan()), 1, [](const internal::StepPlan& wire) {
    const auto plan = FromWire(wire);
    if (!plan.ok()) return false;
    const auto again = FromWire(MakeWire<internal::StepPlan>(*plan));
    EXPECT_TRUE(again.ok() && *again == *plan);
    return true;
  });
  Mutate(MakeWire<internal::StepResult>(SomeResult()), 2, [](const internal::StepResult& wire) {
    const auto result = FromWire(wire);
    if (!result.ok()) return false;
    const auto again = FromWire(MakeWire<internal::StepResult>(*result));
    EXPECT_TRUE(again.ok() && *again == *result);
    return true;
  });
  Mutate(MakeWire<internal::Ready>(SomeReady()), 3,
         [](const internal::Ready& wire) { return FromWire(wire).ok(); });
  Mutate(MakeRequestWire(), 4,
         [](const internal::Request& wire) { return FromWire(wire, absl::UnixEpoch()).ok(); });
  Mutate(MakeWire<internal::TokenEvent>(SomeEvent()), 5,
         [](const internal::TokenEvent& wire) { return FromWire(wire).ok(); });
}

}  // namespace
}  // namespace headgate
