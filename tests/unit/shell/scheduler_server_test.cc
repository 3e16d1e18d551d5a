// The scheduler's shell on real sockets: two fake ranks below it, a plain Attach client above it.
#include "scheduler/shell/scheduler_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <filesystem>
#include <functional>
#include <random>

#include "tests/test_folder.h"
#include "tests/unit/shell/fake_worker.h"
#include "tests/unit/wait_for.h"

namespace headgate {
namespace {

// A server as the scheduler sees it: one thread reads, any thread writes.
class AttachClient {
 public:
  explicit AttachClient(const std::string& address, bool hello = true)
      : stub_(internal::Scheduler::NewStub(grpc::CreateCustomChannel(
            address, grpc::InsecureChannelCredentials(), InternalChannelArguments()))) {
    context_.set_wait_for_ready(true);
    stream_ = stub_->Attach(&context_);
    internal::ServerMessage message;
    if (hello) {
      message.mutable_hello()->set_server("test");
      stream_->Write(message);
    }
    reader_ = std::thread([this] { Read(); });
  }
  ~AttachClient() {
    context_.TryCancel();
    reader_.join();
  }

  void Ask(uint64_t id, const std::vector<TokenId>& prompt, int64_t max_tokens) {
    Request request;
    request.id = id;
    request.prompt = prompt;
    request.max_tokens = max_tokens;
    internal::ServerMessage message;
    ToWire(request, absl::Now(), *message.mutable_request());
    Write(message);
  }
  void Cancel(uint64_t id) {
    internal::ServerMessage message;
    message.mutable_cancel()->set_id(id);
    Write(message);
  }
  void Write(const internal::ServerMessage& message) {
    std::lock_guard lock(write_mutex_);
    stream_->Write(message);
  }

  std::vector<TokenId> tokens(uint64_t id) {
    std::lock_guard lock(mutex_);
    return tokens_[id];
  }
  bool finished(uint64_t id) {
    std::lock_guard lock(mutex_);
    return ended_.count(id) > 0;
  }
  int end_code(uint64_t id) {
    std::lock_guard lock(mutex_);
    return ended_[id];
  }
  uint64_t groups_ready() {
    std::lock_guard lock(mutex_);
    return groups_ready_;
  }
  std::optional<grpc::Status> status() {
    std::lock_guard lock(mutex_);
    return status_;
  }

 private:
  void Read() {
    internal::SchedulerMessage message;
    while (stream_->Read(&message)) {
      std::lock_guard lock(mutex_);
      if (message.has_load()) groups_ready_ = message.load().groups_ready();
      for (const internal::TokenEvent& event : message.tokens().events()) {
        if (event.has_token()) {
          CHECK_EQ(event.token_index(), static_cast<int64_t>(tokens_[event.request()].size()));
          tokens_[event.request()].push_back(event.token());
        }
        if (event.finish() != 0) {
          CHECK(ended_.emplace(event.request(), event.status_code()).second) << "two ends";
        }
      }
    }
    const grpc::Status status = stream_->Finish();
    std::lock_guard lock(mutex_);
    status_ = status;
  }

  std::unique_ptr<internal::Scheduler::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<internal::ServerMessage, internal::SchedulerMessage>>
      stream_;
  std::mutex write_mutex_;
  std::mutex mutex_;
  std::map<uint64_t, std::vector<TokenId>> tokens_;
  std::map<uint64_t, int> ended_;
  uint64_t groups_ready_ = 0;
  std::optional<grpc::Status> status_;
  std::thread reader_;
};

std::vector<TokenId> Expected(const std::vector<TokenId>& prompt, size_t count) {
  std::vector<TokenId> out;
  TokenId last = prompt.back();
  auto position = static_cast<int64_t>(prompt.size()) - 1;
  while (out.size() < count) {
    last = NextFakeToken(last, position++);
    out.push_back(last);
  }
  return out;
}

class SchedulerServerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    options_.listen = "unix:" + folder_.At("scheduler.sock");
    options_.loop.groups = {{Address(0), Address(1)}};
    options_.loop.group.rendezvous_dir = folder_.At("rendezvous");
    options_.loop.group.watchdog = absl::Milliseconds(500);
  }
  void TearDown() override {
    client_.reset();
    server_.reset();
    workers_.clear();
  }

  std::string Address(int rank) const { return "unix:" + folder_.At("w" + std::to_string(rank)); }
  void StartWorkers() {
    for (int rank = 0; rank < 2; ++rank) {
      workers_.push_back(std::make_unique<FakeWorker>(Address(rank)));
    }
  }
  void StartServer() {
    auto server = SchedulerServer::Start(options_);
    ASSERT_TRUE(server.ok()) << server.status();
    server_ = *std::move(server);
  }
  void StartAll() {
    StartWorkers();
    StartServer();
    client_ = std::make_unique<AttachClient>(options_.listen);
    ASSERT_TRUE(WaitFor([&] { return client_->groups_ready() == 1; }));
  }

  const TestFolder folder_;
  SchedulerServerOptions options_;
  std::vector<std::unique_ptr<FakeWorker>> workers_;
  std::unique_ptr<SchedulerServer> server_;
  std::unique_ptr<AttachClient> client_;
};

TEST_F(SchedulerServerTest, GeneratesThroughTwoRanks) {
  StartAll();
  client_->Ask(1, {5, 6, 7}, 50);
  client_->Ask(2, {9}, 20);
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1) && client_->finished(2); }));
  EXPECT_EQ(client_->tokens(1), Expected({5, 6, 7}, 50));
  EXPECT_EQ(client_->tokens(2), Expected({9}, 20));
  EXPECT_TRUE(std::filesystem::exists(folder_.path() + "/rendezvous/group-0/epoch-" +
                                      std::to_string(workers_[0]->epochs().back())));
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().generated_tokens == 70; }));
  EXPECT_EQ(server_->Stats().servers_attached, 1u);
  const QueueStats unsent = server_->Stats().queues.back();
  EXPECT_EQ(unsent.name, "unsent_events");
  EXPECT_EQ(unsent.limit, uint64_t{1} << 16);
}

// Also those whose names it does not know, or has itself.
TEST_F(SchedulerServerTest, TellsTheQueuesOfEveryRank) {
  StartAll();
  client_->Ask(1, {5, 6, 7}, 5);
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1); }));
  ASSERT_TRUE(WaitFor([&] {
    const SchedulerStats stats = server_->Stats();
    return stats.ranks.size() == 2 && stats.ranks[1].queues.size() == 3;
  }));
  for (const RankStats& rank : server_->Stats().ranks) {
    EXPECT_EQ(rank.queues[0].name, "unsent_plans");
    EXPECT_GT(rank.queues[0].limit, 3u);
    EXPECT_EQ(rank.queues[1], (QueueStats{"worker_inbox", 1, 7}));
    EXPECT_EQ(rank.queues[2], (QueueStats{"worker_unsent_plans", 2, 3}));
  }
  for (auto& worker : workers_) worker->Stop();
  EXPECT_TRUE(WaitFor([&] { return server_->Stats().ranks[0].queues.size() < 2; }));
}

TEST_F(SchedulerServerTest, OneStreamIsQuick) {
  StartAll();
  client_->Ask(1, {1}, 100);  // warm
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1); }));
  const absl::Time begin = absl::Now();
  client_->Ask(2, {1}, 1000);
  ASSERT_TRUE(WaitFor([&] { return client_->finished(2); }));
  const double us = absl::ToDoubleMicroseconds(absl::Now() - begin) / 1000;
  RecordProperty("us_per_token", static_cast<int>(us));
  std::printf("scheduler <-> 2 ranks -> server: %.0f us per token\n", us);
  EXPECT_LT(us, 5000);
}

TEST_F(SchedulerServerTest, WorkersMayStartLater) {
  StartServer();
  client_ = std::make_unique<AttachClient>(options_.listen);
  client_->Ask(1, {3}, 10);
  absl::SleepFor(absl::Milliseconds(200));
  EXPECT_EQ(client_->groups_ready(), 0u);
  StartWorkers();
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1); }));
  EXPECT_EQ(client_->tokens(1), Expected({3}, 10));
}

TEST_F(SchedulerServerTest, AKilledRankBeginsANewEpochWithoutGapOrRepeat) {
  StartAll();
  for (auto& worker : workers_) worker->step_us = 2000;
  client_->Ask(1, {5, 6}, 120);
  for (size_t i = 0; i < 2; ++i) {
    ASSERT_TRUE(WaitFor([&] { return client_->tokens(1).size() >= 20 * (i + 1); }));
    workers_[i]->Stop();
    ASSERT_TRUE(WaitFor([&] { return client_->groups_ready() == 0; }));
    workers_[i]->Listen();
  }
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1); }));
  EXPECT_EQ(client_->tokens(1), Expected({5, 6}, 120));
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().group_restarts >= 2; }));
  const std::vector<Epoch> epochs = workers_[0]->epochs();
  for (size_t i = 1; i < epochs.size(); ++i) EXPECT_GT(epochs[i], epochs[i - 1]);
}

TEST_F(SchedulerServerTest, TheWatchdogEndsAnOverdueStep) {
  StartAll();
  client_->Ask(1, {5}, 60);
  workers_[1]->hang = true;
  ASSERT_TRUE(WaitFor([&] { return client_->groups_ready() == 0; }));
  workers_[1]->hang = false;
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1); }));
  EXPECT_EQ(client_->tokens(1), Expected({5}, 60));
}

TEST_F(SchedulerServerTest, ALostServerTakesItsRequestsAlong) {
  StartAll();
  for (auto& worker : workers_) worker->step_us = 1000;
  auto other = std::make_unique<AttachClient>(options_.listen);
  for (uint64_t id = 1; id <= 20; ++id) other->Ask(id, {1, 2}, 4000);
  client_->Ask(1, {5}, 300);  // the same id on another stream is another request
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().requests_running == 21; }));
  other.reset();
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().requests_running <= 1; }));
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1); }));
  EXPECT_EQ(client_->tokens(1), Expected({5}, 300));
}

TEST_F(SchedulerServerTest, CancelsAtAnyPointFreeEverything) {
  StartAll();
  std::mt19937 random(11);
  constexpr uint64_t kRequests = 1000;
  for (uint64_t id = 1; id <= kRequests; ++id) {
    client_->Ask(id, std::vector<TokenId>(random() % 100 + 1, 7), random() % 50 + 1);
    if (random() % 4 == 0) absl::SleepFor(absl::Microseconds(random() % 2000));
    client_->Cancel(random() % id + 1);
  }
  for (uint64_t id = 1; id <= kRequests; ++id) client_->Cancel(id);
  ASSERT_TRUE(WaitFor([&] {
    const SchedulerStats stats = server_->Stats();
    return stats.requests_running + stats.requests_waiting == 0;
  }));
  client_->Ask(kRequests + 1, {5}, 30);
  ASSERT_TRUE(WaitFor([&] { return client_->finished(kRequests + 1); }));
  EXPECT_EQ(client_->tokens(kRequests + 1), Expected({5}, 30));
  // Whatever the last step still holds is released by the next one.
  EXPECT_TRUE(WaitFor([&] { return workers_[0]->sequences() <= 1; }));
}

TEST_F(SchedulerServerTest, RanksThatDisagreeDoNotServe) {
  StartWorkers();
  workers_[1]->vocab = kFakeVocab + 1;
  StartServer();
  ASSERT_TRUE(WaitFor([&] { return workers_[0]->epochs().size() >= 2; }));
  EXPECT_EQ(server_->Stats().groups_ready, 0u);
  workers_[1]->vocab = kFakeVocab;
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().groups_ready == 1; }));
}

TEST_F(SchedulerServerTest, AGroupThatTheLedgerRefusesDoesNotServe) {
  StartWorkers();
  for (auto& worker : workers_) worker->rows = 1 << 30;  // no page ledger counts so many
  options_.loop.group.backoff_max = absl::Milliseconds(100);
  StartServer();
  client_ = std::make_unique<AttachClient>(options_.listen);
  client_->Ask(1, {5}, 10);
  ASSERT_TRUE(WaitFor([&] { return workers_[0]->epochs().size() >= 4; }));
  EXPECT_EQ(server_->Stats().groups_ready, 0u);
  EXPECT_FALSE(client_->finished(1));
  const absl::Time begin = absl::Now();
  const size_t before = workers_[0]->epochs().size();
  ASSERT_TRUE(WaitFor([&] { return workers_[0]->epochs().size() >= before + 3; }));
  EXPECT_GT(absl::Now() - begin, absl::Milliseconds(180));  // it backs off
  for (auto& worker : workers_) worker->rows = 1;
  ASSERT_TRUE(WaitFor([&] { return client_->finished(1); }));
  EXPECT_EQ(client_->tokens(1), Expected({5}, 10));
  EXPECT_EQ(server_->Stats().groups_ready, 1u);
}

TEST_F(SchedulerServerTest, AMalformedPeerIsDropped) {
  StartAll();
  {
    AttachClient peer(options_.listen, /*hello=*/false);
    peer.Cancel(1);  // before Hello
    ASSERT_TRUE(WaitFor([&] { return peer.status().has_value(); }));
    EXPECT_EQ(peer.status()->error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  {
    AttachClient peer(options_.listen);
    peer.Ask(1, {}, 5);  // an empty prompt is not for the wire
    ASSERT_TRUE(WaitFor([&] { return peer.status().has_value(); }));
    EXPECT_EQ(peer.status()->error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().peers_dropped == 1; }));
  // Random bytes on the socket.
  std::mt19937 random(5);
  for (int round = 0; round < 50; ++round) {
    const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    folder_.At("scheduler.sock").copy(address.sun_path, sizeof(address.sun_path) - 1);
    ASSERT_EQ(connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
    std::string noise(random() % 4096, '\0');
    for (char& c : noise) c = static_cast<char>(random());
    (void)!send(fd, noise.data(), noise.size(), MSG_NOSIGNAL);
    close(fd);
  }
  client_->Ask(7, {5}, 10);
  ASSERT_TRUE(WaitFor([&] { return client_->finished(7); }));
  EXPECT_EQ(client_->tokens(7), Expected({5}, 10));
}

TEST_F(SchedulerServerTest, ARestartedSchedulerUsesANewerEpoch) {
  StartAll();
  const Epoch before = workers_[0]->epochs().back();
  client_.reset();
  server_.reset();
  StartServer();
  ASSERT_TRUE(WaitFor([&] { return server_->Stats().groups_ready == 1; }));
  EXPECT_GT(workers_[0]->epochs().back(), before);
}

// LeakSanitizer sees what a stream left in the closed inbox: streams and inbox own each other.
TEST_F(SchedulerServerTest, StopsWhileServersComeAndGo) {
  StartWorkers();
  for (int round = 0; round < 20; ++round) {
    StartServer();
    std::vector<std::unique_ptr<AttachClient>> peers;
    for (int i = 0; i < 8; ++i) {
      peers.push_back(std::make_unique<AttachClient>(options_.listen));
      peers.back()->Ask(1, {5}, 10);
    }
    std::thread leave([&] { peers.clear(); });
    absl::SleepFor(absl::Microseconds(100 * round));
    server_->Shutdown(absl::ZeroDuration());
    leave.join();
    server_.reset();
  }
}

TEST(SchedulerServer, RefusesPlainLinksToOtherMachines) {
  SchedulerServerOptions options;
  options.listen = "unix:/tmp/x";
  options.loop.groups = {{"10.0.0.1:5000"}};
  EXPECT_EQ(SchedulerServer::Start(options).status().code(), absl::StatusCode::kFailedPrecondition);
  options.loop.groups = {};
  EXPECT_EQ(SchedulerServer::Start(options).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace headgate
