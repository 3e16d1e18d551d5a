// A server on a real socket in front of a FakeScheduler, and a client of it.
#pragma once

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "grpc/health/v1/health.grpc.pb.h"
#include "headgate/v1/inference.grpc.pb.h"
#include "server/inference_server.h"
#include "tests/test_folder.h"
#include "tests/unit/server/byte_tokenizer.h"
#include "tests/unit/server/fake_scheduler.h"
#include "tests/unit/wait_for.h"

namespace headgate {

class InferenceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.listen = "unix:" + folder_.At("server.sock");
    options_.model = {
        .name = "m", .max_positions = 512, .vocab = kByteVocab, .end_tokens = {kEndToken}};
    options_.scheduler.address = "unix:" + folder_.At("scheduler.sock");
    options_.scheduler.server_name = "s";
  }

  void TearDown() override {
    channel_.reset();
    server_.reset();
    scheduler_.reset();
  }

  void StartScheduler() {
    scheduler_ = std::make_unique<FakeScheduler>(options_.scheduler.address);
  }

  void StartServer(bool wait_ready = true) {
    auto server = InferenceServer::Start(options_, tokenizer_, chat_template_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
    grpc::ChannelArguments args;
    args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
    args.SetInt(GRPC_ARG_HTTP2_BDP_PROBE, 0);  // a small, fixed window
    args.SetInt(GRPC_ARG_HTTP2_STREAM_LOOKAHEAD_BYTES, 16 << 10);
    channel_ = grpc::CreateCustomChannel(options_.listen, grpc::InsecureChannelCredentials(), args);
    stub_ = v1::Inference::NewStub(channel_);
    if (wait_ready) {
      ASSERT_TRUE(WaitFor([&] { return server_->ready(); }));
    }
  }

  struct Answer {
    grpc::Status status;
    std::string text;
    std::vector<int64_t> indices;
    std::vector<int32_t> tokens;
    v1::GenerateResponse last;
    std::optional<uint64_t> seed;
    std::string pushback;
  };

  Answer Ask(const v1::GenerateRequest& request, absl::Duration timeout = absl::Seconds(30)) {
    grpc::ClientContext context;
    context.set_deadline(absl::ToChronoTime(absl::Now() + timeout));
    Answer answer;
    auto reader = stub_->Generate(&context, request);
    v1::GenerateResponse message;
    while (reader->Read(&message)) {
      answer.text += message.text();
      for (const auto& token : message.tokens()) {
        answer.indices.push_back(token.index());
        answer.tokens.push_back(token.token_id());
      }
      if (message.has_seed()) answer.seed = message.seed();
      answer.last = message;
    }
    answer.status = reader->Finish();
    const auto& trailers = context.GetServerTrailingMetadata();
    if (const auto it = trailers.find("grpc-retry-pushback-ms"); it != trailers.end()) {
      answer.pushback = std::string(it->second.data(), it->second.size());
    }
    return answer;
  }

  static v1::GenerateRequest TextRequest(const std::string& text, int max_tokens = 200) {
    v1::GenerateRequest request;
    request.set_text(text);
    request.set_max_tokens(max_tokens);
    return request;
  }

  static void ExpectGapless(const Answer& answer) {
    for (size_t i = 0; i < answer.indices.size(); ++i) {
      ASSERT_EQ(answer.indices[i], static_cast<int64_t>(i));
    }
  }

  grpc::health::v1::HealthCheckResponse::ServingStatus Health(const std::string& service) {
    grpc::ClientContext context;
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    grpc::health::v1::HealthCheckResponse response;
    const grpc::Status status =
        grpc::health::v1::Health::NewStub(channel_)->Check(&context, request, &response);
    return status.ok() ? response.status() : grpc::health::v1::HealthCheckResponse::UNKNOWN;
  }

  const TestFolder folder_;
  InferenceServerOptions options_;
  std::shared_ptr<const Tokenizer> tokenizer_ = MakeByteTokenizer();
  std::optional<ModelTemplate> chat_template_;
  std::unique_ptr<FakeScheduler> scheduler_;
  std::unique_ptr<InferenceServer> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

}  // namespace headgate
