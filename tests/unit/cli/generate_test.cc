// The generate client against a server of a few lines: text, JSON, errors and readiness.
#include "cli/generate.h"

#include <gmock/gmock.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <csignal>
#include <nlohmann/json.hpp>
#include <sstream>
#include <thread>

#include "absl/strings/match.h"
#include "absl/synchronization/notification.h"
#include "headgate/v1/inference.grpc.pb.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

using ::testing::HasSubstr;

class TinyServer final : public v1::Inference::Service {
 public:
  grpc::Status Generate(grpc::ServerContext* context, const v1::GenerateRequest* request,
                        grpc::ServerWriter<v1::GenerateResponse>* writer) override {
    last = *request;
    if (!failure.ok()) return failure;
    v1::GenerateResponse message;
    for (const std::string word : {"two ", "words"}) {
      message.set_text(word);
      writer->Write(message);
    }
    while (endless && !context->IsCancelled()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    message.Clear();
    message.set_finish_reason(v1::FINISH_REASON_STOP);
    message.mutable_usage()->set_output_tokens(2);
    writer->Write(message);
    return grpc::Status::OK;
  }

  v1::GenerateRequest last;
  grpc::Status failure;
  bool endless = false;
};

// What the user sees; tells another thread once `text` is among it.
class Screen final : public std::stringbuf {
 public:
  explicit Screen(std::string text) : text_(std::move(text)) {}
  void WaitForText() { seen_.WaitForNotification(); }

 private:
  int sync() override {
    if (!seen_.HasBeenNotified() && absl::StrContains(str(), text_)) seen_.Notify();
    return 0;
  }

  const std::string text_;
  absl::Notification seen_;
};

class GenerateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.server = "unix:" + folder_.At("s");
    options_.prompt = "how?";
    grpc::ServerBuilder builder;
    builder.AddListeningPort(options_.server, grpc::InsecureServerCredentials());
    builder.RegisterService(&service_);
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
  }
  void TearDown() override {
    server_->Shutdown(std::chrono::system_clock::now());
    server_.reset();
  }

  const TestFolder folder_;
  TinyServer service_;
  std::unique_ptr<grpc::Server> server_;
  GenerateOptions options_;
  std::ostringstream out_;
  std::ostringstream err_;
};

TEST_F(GenerateTest, PrintsTextAsAChat) {
  options_.system = "be brief";
  ASSERT_TRUE(RunGenerate(options_, out_, err_).ok());
  EXPECT_EQ(out_.str(), "two words\n");
  EXPECT_EQ(err_.str(), "");
  ASSERT_EQ(service_.last.chat().messages_size(), 2);
  EXPECT_EQ(service_.last.chat().messages(0).role(), "system");
  EXPECT_EQ(service_.last.chat().messages(1).content(), "how?");
}

TEST_F(GenerateTest, PrintsOneJsonObjectPerMessage) {
  options_.raw = true;
  options_.json = true;
  ASSERT_TRUE(RunGenerate(options_, out_, err_).ok());
  EXPECT_EQ(service_.last.text(), "how?");
  std::istringstream lines(out_.str());
  std::vector<nlohmann::json> objects;
  for (std::string line; std::getline(lines, line);) objects.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(objects.size(), 3u);
  EXPECT_EQ(objects[1]["text"], "words");
  EXPECT_EQ(objects[2]["finish_reason"], "FINISH_REASON_STOP");
  EXPECT_EQ(objects[2]["usage"]["output_tokens"], "2");
}

TEST_F(GenerateTest, ErrorsSayWhatToDo) {
  service_.failure = {grpc::StatusCode::UNAVAILABLE, "server: full"};
  EXPECT_THAT(std::string(RunGenerate(options_, out_, err_).message()), HasSubstr("try again"));
  service_.failure = {grpc::StatusCode::INVALID_ARGUMENT, "top_p: must be in (0, 1]"};
  const absl::Status status = RunGenerate(options_, out_, err_);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("top_p"));
}

TEST_F(GenerateTest, NobodyThereIsSaidSoon) {
  options_.server = "unix:" + folder_.At("nobody");
  options_.connect_timeout = absl::Milliseconds(300);
  const absl::Status status = RunGenerate(options_, out_, err_);
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(status.message()), HasSubstr("headgate serve"));
}

TEST_F(GenerateTest, AnAddressWithoutAFormIsBadUse) {
  for (const char* address : {"", "nowhere", "127.0.0.1:http"}) {
    options_.server = address;
    const absl::Status status = RunGenerate(options_, out_, err_);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

TEST_F(GenerateTest, CtrlCEndsIt) {
  service_.endless = true;
  Screen screen("two words");
  std::ostream out(&screen);
  std::thread user([&screen] {
    screen.WaitForText();
    kill(getpid(), SIGINT);
  });
  const absl::Status status = RunGenerate(options_, out, err_);
  user.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace headgate
