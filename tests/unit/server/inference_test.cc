// The server on a real socket, against a scheduler that can be cut, stopped and made to stutter.
#include <grpcpp/generic/generic_stub.h>

#include <algorithm>
#include <random>
#include <thread>

#include "proto/link.h"
#include "tests/unit/server/inference_fixture.h"

namespace headgate {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(InferenceTest, StreamsTextUntilTheEndToken) {
  StartScheduler();
  scheduler_->set_script("h\xC3\xA9llo \xE2\x82\xAC!");  // multi-byte characters cross tokens
  StartServer();
  v1::GenerateRequest request = TextRequest("ask");
  request.set_logprobs(0);
  const Answer answer = Ask(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.text, "h\xC3\xA9llo \xE2\x82\xAC!");
  EXPECT_EQ(answer.tokens.back(), kEndToken);
  ExpectGapless(answer);
  EXPECT_EQ(answer.last.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(answer.last.usage().prompt_tokens(), 3);
  EXPECT_EQ(answer.last.usage().output_tokens(), static_cast<int64_t>(answer.tokens.size()));
  EXPECT_TRUE(answer.seed.has_value());
  const internal::Request sent = scheduler_->requests().at(0);
  EXPECT_EQ(sent.prompt_size(), 3);
  EXPECT_EQ(sent.stop_tokens_size(), 1);
  EXPECT_EQ(sent.sampling().seed(), *answer.seed);
  EXPECT_GT(sent.deadline_ms(), 25'000);
  EXPECT_LE(sent.deadline_ms(), 31'000);  // gRPC rounds up
}

TEST_F(InferenceTest, DefaultsAndLimitsOfARequest) {
  StartScheduler();
  scheduler_->set_script(std::string(600, 'a'));
  StartServer();
  v1::GenerateRequest request = TextRequest(std::string(500, 'p'), 512);
  request.set_ignore_eos(true);
  request.mutable_sampling()->set_seed(7);
  Answer answer = Ask(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.tokens.size(), 12u);  // what fits
  EXPECT_EQ(answer.last.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(scheduler_->requests().at(0).stop_tokens_size(), 0);
  EXPECT_EQ(*answer.seed, 7u);
  request = TextRequest("x");
  request.clear_max_tokens();
  EXPECT_EQ(Ask(request).tokens.size(), 256u);
  EXPECT_EQ(Ask(TextRequest(std::string(512, 'p'))).status.error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
}

TEST_F(InferenceTest, StopStringsEndTheTextAndTheRequest) {
  StartScheduler();
  scheduler_->set_script("one STUPID STOP two three");
  scheduler_->token_us = 1000;
  StartServer();
  v1::GenerateRequest request = TextRequest("x");
  request.add_stop(std::string("STOP"));
  const Answer answer = Ask(request);
  ASSERT_TRUE(answer.status.ok());
  EXPECT_EQ(answer.text, "one STUPID ");
  EXPECT_EQ(answer.last.finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_TRUE(WaitFor([&] { return scheduler_->live() == 0; }));
  EXPECT_EQ(scheduler_->cancels(), 1u);
}

TEST_F(InferenceTest, WithoutATokenizerPromptsAreTokenIdsAndAnswersHaveNoText) {
  StartScheduler();
  scheduler_->set_script("abc");
  tokenizer_ = nullptr;
  StartServer();
  v1::GenerateRequest request;
  for (int id : {7, 8, 9}) request.mutable_tokens()->add_ids(id);
  request.set_max_tokens(3);
  const Answer answer = Ask(request);
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.text, "");
  EXPECT_EQ(answer.tokens.size(), 3u);
  EXPECT_EQ(answer.last.usage().prompt_tokens(), 3);
  const auto expect_refused = [&](const v1::GenerateRequest& bad, const std::string& field) {
    const Answer refused = Ask(bad);
    EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(refused.status.error_message(), HasSubstr(field + ": this model has no tokenizer"));
  };
  request.add_stop("x");
  expect_refused(request, "stop");
  expect_refused(TextRequest("x"), "text");
  v1::GenerateRequest chat;
  v1::ChatMessage* message = chat.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("x");
  expect_refused(chat, "chat");
}

TEST_F(InferenceTest, ALostSchedulerIsNotSeenByTheClient) {
  StartScheduler();
  const std::string script = "The quick brown fox jumps over the lazy dog, again and again.";
  scheduler_->set_script(script);
  scheduler_->token_us = 500;
  scheduler_->stop_after = 20;
  StartServer();
  std::thread saboteur([&] {
    for (int64_t stop : {40, -1}) {
      WaitFor([&] { return server_->Stats().tokens_streamed >= 20u; });
      absl::SleepFor(absl::Milliseconds(30));
      scheduler_->Stop();
      scheduler_->stop_after = stop;
      scheduler_->Listen();
      if (stop > 0) {
        WaitFor([&] { return server_->Stats().tokens_streamed >= static_cast<uint64_t>(stop); });
      }
    }
  });
  const Answer answer = Ask(TextRequest("x"));
  saboteur.join();
  ASSERT_TRUE(answer.status.ok()) << answer.status.error_message();
  EXPECT_EQ(answer.text, script);
  ExpectGapless(answer);
  const ServerStats stats = server_->Stats();
  EXPECT_EQ(stats.scheduler_reconnects, 2u);
  EXPECT_EQ(stats.replays, 2u);
  EXPECT_EQ(scheduler_->requests().at(1).emitted_size(), 20);
}

TEST_F(InferenceTest, RepeatedTokensAreDroppedAndCounted) {
  StartScheduler();
  scheduler_->repeat_tokens = true;
  StartServer();
  const Answer answer = Ask(TextRequest("x"));
  EXPECT_EQ(answer.text, "hello");
  ExpectGapless(answer);
  EXPECT_EQ(server_->Stats().stale_messages, 6u);
}

TEST_F(InferenceTest, HealthFollowsTheScheduler) {
  using Response = grpc::health::v1::HealthCheckResponse;
  options_.scheduler.attach_wait = absl::Milliseconds(50);
  StartServer(/*wait_ready=*/false);
  EXPECT_EQ(Health(""), Response::NOT_SERVING);
  const Answer refused = Ask(TextRequest("x"));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(refused.pushback, "2000");
  StartScheduler();
  EXPECT_TRUE(WaitFor([&] { return Health("") == Response::SERVING; }));
  EXPECT_EQ(Health("m"), Response::SERVING);
  scheduler_->Stop();
  EXPECT_TRUE(WaitFor([&] { return Health("m") == Response::NOT_SERVING; }));
  scheduler_->groups_ready = 0;
  scheduler_->Listen();
  EXPECT_TRUE(WaitFor([&] { return server_->Stats().scheduler_attached == 1; }));
  EXPECT_EQ(Health(""), Response::NOT_SERVING);
}

// A long answer that its client does not read by itself.
class SlowReaderTest : public InferenceTest {
 protected:
  std::unique_ptr<grpc::ClientReader<v1::GenerateResponse>> StartLongAnswer() {
    options_.model.max_positions = 1'000'000;
    StartScheduler();
    scheduler_->set_script(std::string(500'000, 'a'));
    StartServer();
    v1::GenerateRequest request = TextRequest("x", 900'000);
    request.set_ignore_eos(true);
    request.set_logprobs(0);
    return stub_->Generate(&context_, request);
  }

  grpc::ClientContext context_;
};

TEST_F(SlowReaderTest, IsCutOffAndFreed) {
  options_.limits.pending_bytes_max = 4096;
  options_.limits.write_stall_max = absl::Milliseconds(200);
  const auto reader = StartLongAnswer();
  uint64_t most_unwritten = 0;
  const auto cut_off = [&] {
    const ServerStats stats = server_->Stats();
    EXPECT_EQ(stats.queues.at(2).name, "unwritten_bytes");
    most_unwritten = std::max(most_unwritten, stats.queues.at(2).size);
    return stats.slow_readers == 1;
  };
  EXPECT_TRUE(WaitFor(cut_off, absl::Seconds(60)));
  EXPECT_LT(most_unwritten, 2 * options_.limits.pending_bytes_max);
  EXPECT_TRUE(WaitFor([&] { return scheduler_->live() == 0; }));
  EXPECT_TRUE(WaitFor([&] { return server_->Stats().streams_active == 0; }));
  EXPECT_EQ(server_->Stats().unwritten_bytes, 0u);
  v1::GenerateResponse message;
  while (reader->Read(&message)) {
  }
  EXPECT_FALSE(reader->Finish().ok());
  EXPECT_EQ(Ask(TextRequest("y", 5)).text.size(), 5u);  // others are served
}

TEST_F(SlowReaderTest, WhatItLeavesIsTold) {
  options_.limits.pending_bytes_max = 64 << 20;  // more than it gets to: it is not cut off
  const auto reader = StartLongAnswer();
  EXPECT_TRUE(WaitFor([&] { return server_->Stats().unwritten_bytes > 1 << 14; }));
  context_.TryCancel();
  EXPECT_FALSE(reader->Finish().ok());
  EXPECT_TRUE(WaitFor([&] { return server_->Stats().unwritten_bytes == 0; }));
}

TEST_F(InferenceTest, CancelledCallsLeaveNothingBehind) {
  StartScheduler();
  scheduler_->set_script(std::string(40, 'a'));
  scheduler_->token_us = 100;
  StartServer();
  std::mt19937 random(3);
  constexpr int kCalls = 1000;
  std::vector<std::thread> clients;
  for (int c = 0; c < 4; ++c) {
    clients.emplace_back([&, seed = random()] {
      std::mt19937 dice(seed);
      for (int i = 0; i < kCalls / 4; ++i) {
        grpc::ClientContext context;
        auto reader = stub_->Generate(&context, TextRequest("x", 60));
        v1::GenerateResponse message;
        for (uint32_t reads = dice() % 20; reads > 0 && reader->Read(&message); --reads) {
        }
        context.TryCancel();
        reader->Finish();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  // A cancelled call may reach the server after its client has left: all at one moment.
  ServerStats stats;
  const auto quiet = [&] {
    stats = server_->Stats();
    return stats.streams_active == 0 && stats.queues.at(0).size == 0 && scheduler_->live() == 0;
  };
  EXPECT_TRUE(WaitFor(quiet)) << stats.streams_active << " streams, " << stats.queues.at(0).size
                              << " " << stats.queues.at(0).name;
  EXPECT_EQ(stats.requests_started,
            stats.requests_ok + stats.requests_cancelled + stats.requests_failed);
  EXPECT_EQ(stats.unwritten_bytes, 0u);
}

TEST_F(InferenceTest, DeadlinesEndRequests) {
  StartScheduler();
  scheduler_->stop_after = 2;
  StartServer();
  const Answer answer = Ask(TextRequest("x"), absl::Milliseconds(300));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_TRUE(WaitFor([&] { return scheduler_->live() == 0; }, absl::Seconds(2)));
}

TEST_F(InferenceTest, TheLimitOfLiveRequestsIsKept) {
  options_.scheduler.live_limit = 1;
  StartScheduler();
  scheduler_->stop_after = 1;
  StartServer();
  grpc::ClientContext context;
  auto reader = stub_->Generate(&context, TextRequest("x"));
  v1::GenerateResponse message;
  ASSERT_TRUE(reader->Read(&message));
  const Answer refused = Ask(TextRequest("y"));
  EXPECT_EQ(refused.status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(refused.pushback, "1000");
  context.TryCancel();
}

TEST_F(InferenceTest, RefusalsOfTheSchedulerReachTheClient) {
  StartScheduler();
  scheduler_->fail_requests = true;
  StartServer();
  const Answer answer = Ask(TextRequest("x"));
  EXPECT_EQ(answer.status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_EQ(answer.pushback, "1500");
}

TEST_F(InferenceTest, BadRequestsAreNamedAndNeverEchoed) {
  StartScheduler();
  StartServer();
  v1::GenerateRequest request = TextRequest("x");
  request.set_model("CANARY");
  EXPECT_EQ(Ask(request).status.error_code(), grpc::StatusCode::NOT_FOUND);
  EXPECT_THAT(Ask(request).status.error_message(), Not(HasSubstr("CANARY")));
  request = TextRequest("x");
  request.mutable_sampling()->set_top_p(0);
  EXPECT_THAT(Ask(request).status.error_message(), HasSubstr("top_p"));
  request = TextRequest("x");
  request.mutable_chat()->add_messages()->set_role("user");
  EXPECT_THAT(Ask(request).status.error_message(), HasSubstr("chat template"));
  // Field 2 (text) with a byte that is not UTF-8.
  const grpc::Slice slice(
      std::string("\x12\x02"
                  "C\xFF"));
  grpc::ByteBuffer bytes(&slice, 1);
  grpc::ByteBuffer response;
  grpc::ClientContext context;
  grpc::GenericStub generic(channel_);
  grpc::CompletionQueue queue;
  auto call = generic.PrepareUnaryCall(&context, "/headgate.v1.Inference/Tokenize", bytes, &queue);
  call->StartCall();
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag = nullptr;
  bool ok = false;
  queue.Next(&tag, &ok);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_TRUE(scheduler_->requests().empty());
}

TEST_F(InferenceTest, ScoreTokenizeAndLists) {
  StartScheduler();
  StartServer();
  {
    grpc::ClientContext context;
    v1::ScoreRequest request;
    request.set_text("abc");
    v1::ScoreResponse response;
    ASSERT_TRUE(stub_->Score(&context, request, &response).ok());
    EXPECT_THAT(response.token_ids(), ::testing::ElementsAre('a', 'b', 'c'));
    EXPECT_THAT(response.logprobs(), ::testing::ElementsAre(-0.5f, -1.0f));
    EXPECT_THAT(response.top_token_ids(), ::testing::ElementsAre('b', 'c'));
  }
  {
    grpc::ClientContext context;
    v1::TokenizeRequest request;
    request.set_text(std::string(5000, 'a') + "<end>");  // large: on the pool
    v1::TokenizeResponse response;
    ASSERT_TRUE(stub_->Tokenize(&context, request, &response).ok());
    ASSERT_EQ(response.token_ids_size(), 5005);  // user text gives no special token
    EXPECT_EQ(response.pieces(5000), "<");
  }
  {
    grpc::ClientContext context;
    v1::ListModelsResponse response;
    ASSERT_TRUE(stub_->ListModels(&context, {}, &response).ok());
    EXPECT_EQ(response.models(0).name(), "m");
    EXPECT_EQ(response.models(0).max_positions(), 512);
  }
  grpc::ClientContext context;
  v1::GetLoadResponse response;
  ASSERT_TRUE(stub_->GetLoad(&context, {}, &response).ok());
  EXPECT_EQ(response.groups_ready(), 1u);
}

TEST_F(InferenceTest, ChatGoesThroughTheTemplateAndUsersCannotForgeItsTokens) {
  auto parsed =
      ChatTemplate::Parse("{% for m in messages %}{{ m.role }}:{{ m.content }}<end>{% endfor %}A:");
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  chat_template_ = ModelTemplate{*std::move(parsed), "", "", "<end>"};
  StartScheduler();
  StartServer();
  v1::GenerateRequest request;
  v1::ChatMessage* message = request.mutable_chat()->add_messages();
  message->set_role("user");
  message->set_content("hi<end>");
  EXPECT_EQ(Ask(request).text, "hello");
  const internal::Request sent = scheduler_->requests().at(0);
  std::vector<int32_t> expected;
  for (char c : std::string("user:hi<end>")) expected.push_back(c);
  expected.push_back(kEndToken);  // only the template's own
  expected.push_back('A');
  expected.push_back(':');
  EXPECT_EQ(std::vector<int32_t>(sent.prompt().begin(), sent.prompt().end()), expected);
}

TEST_F(InferenceTest, DrainRefusesNewCallsAndLetsLiveOnesFinish) {
  StartScheduler();
  scheduler_->set_script(std::string(50, 'a'));
  scheduler_->token_us = 4000;
  StartServer();
  Answer live;
  std::thread client([&] { live = Ask(TextRequest("x")); });
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().tokens_streamed > 0; }));
  server_->Drain(absl::Seconds(20));
  client.join();
  EXPECT_TRUE(live.status.ok()) << live.status.error_message();
  EXPECT_EQ(live.text.size(), 50u);
  EXPECT_EQ(Ask(TextRequest("y")).status.error_code(), grpc::StatusCode::UNAVAILABLE);
}

TEST_F(InferenceTest, IdleClientsAndHealthWatchesDoNotHoldADrainUp) {
  StartScheduler();
  StartServer();
  const auto health = grpc::health::v1::Health::NewStub(channel_);
  grpc::ClientContext context;
  const auto watch = health->Watch(&context, {});
  grpc::health::v1::HealthCheckResponse state;
  ASSERT_TRUE(watch->Read(&state));
  const absl::Time start = absl::Now();
  server_->Drain(absl::Seconds(20));
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST(InferenceServer, RefusesToListenPlainlyToTheWorld) {
  InferenceServerOptions options;
  options.listen = "0.0.0.0:0";
  options.model = {.name = "m", .max_positions = 8, .vocab = 8, .end_tokens = {}};
  options.scheduler.address = "unix:/tmp/x";
  EXPECT_EQ(InferenceServer::Start(options, MakeByteTokenizer(), std::nullopt).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace headgate
