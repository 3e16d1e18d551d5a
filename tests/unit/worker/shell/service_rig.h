// A worker behind its gRPC service and a scheduler that talks to it synchronously, for tests.
#pragma once

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "headgate/internal/cluster.grpc.pb.h"
#include "nlohmann/json.hpp"
#include "proto/wire.h"
#include "tests/test_folder.h"
#include "tests/unit/worker/group_rig.h"
#include "worker/shell/worker_service.h"

namespace headgate {

// What a scheduler does with one rank, synchronously.
class Link {
 public:
  explicit Link(const std::string& address, const grpc::ChannelArguments& arguments = {})
      : stub_(internal::Worker::NewStub(
            grpc::CreateCustomChannel(address, grpc::InsecureChannelCredentials(), arguments))) {
    context_.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
    stream_ = stub_->Run(&context_);
  }
  ~Link() { Cancel(); }

  void SendInit(Epoch epoch, int rank = 0, int ranks = 1, const std::string& rendezvous = "") {
    internal::WorkerCommand command;
    command.mutable_init()->set_epoch(epoch);
    command.mutable_init()->set_rank(rank);
    command.mutable_init()->set_ranks(ranks);
    command.mutable_init()->set_rendezvous(rendezvous);
    stream_->Write(command);
  }
  void SendPlan(const StepPlan& plan) {
    internal::WorkerCommand command;
    ToWire(plan, *command.mutable_plan());
    stream_->Write(command);
  }
  // nullopt: the stream ended; see status(). Passes over Loading.
  std::optional<RankReady> ReadReady() {
    internal::WorkerReply reply;
    while (stream_->Read(&reply)) {
      if (reply.has_ready()) return *FromWire(reply.ready());
      ++loading_;
    }
    return std::nullopt;
  }
  std::optional<StepResult> ReadResult() {
    internal::WorkerReply reply;
    if (!stream_->Read(&reply) || !reply.has_result()) return std::nullopt;
    return *FromWire(reply.result());
  }
  // Waits for the end of the stream.
  grpc::Status Finish() {
    internal::WorkerReply reply;
    while (stream_->Read(&reply)) {
    }
    finished_ = true;
    return stream_->Finish();
  }
  void Cancel() {
    if (finished_) return;
    context_.TryCancel();
    Finish();
  }
  void HalfClose() { stream_->WritesDone(); }
  int loading() const { return loading_; }

 private:
  std::unique_ptr<internal::Worker::Stub> stub_;
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<internal::WorkerCommand, internal::WorkerReply>> stream_;
  int loading_ = 0;
  bool finished_ = false;
};

class ServiceRig : public testing::Test {
 protected:
  WorkerServiceOptions Options(const std::string& name) {
    WorkerServiceOptions options;
    options.listen = Address(name);
    options.loop.worker = SmallOptions(TestModel("stories260k"));
    options.loop.meet_timeout = absl::Seconds(20);
    options.loop.on_fatal = [this](const absl::Status& why) {
      fatal_status_ = why;
      fatal_.Notify();
    };
    return options;
  }
  std::string Address(const std::string& name) const { return "unix:" + folder_.At(name); }
  std::unique_ptr<WorkerService> StartService(WorkerServiceOptions options) {
    auto service = WorkerService::Start(std::move(options));
    EXPECT_TRUE(service.ok()) << service.status();
    return service.ok() ? *std::move(service) : nullptr;
  }

  const TestFolder folder_;
  absl::Notification fatal_;
  absl::Status fatal_status_;
};

inline StepPlan FirstPlan(Epoch epoch, SequenceId id, std::vector<TokenId> tokens) {
  StepPlan plan;
  plan.epoch = epoch;
  plan.step = 1;
  plan.starts.push_back({id, {}, 0, static_cast<int64_t>(tokens.size())});
  plan.chunks.push_back({id, 0, std::move(tokens), true, {}});
  return plan;
}

inline StepPlan DecodePlan(Epoch epoch, StepId step, SequenceId id, int64_t position) {
  StepPlan plan;
  plan.epoch = epoch;
  plan.step = step;
  plan.chunks.push_back({id, position, {}, true, {}});
  return plan;
}

inline StepPlan EmptyPlan(Epoch epoch) {
  StepPlan plan;
  plan.epoch = epoch;
  plan.step = 1;
  return plan;
}

inline std::vector<TokenId> GoldenStory() {
  std::ifstream file(TestModel("stories260k") + "/golden.json");
  return nlohmann::json::parse(file)["greedy_ids_from_bos"].get<std::vector<TokenId>>();
}

}  // namespace headgate
