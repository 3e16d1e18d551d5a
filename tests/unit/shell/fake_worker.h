// A rank for tests: computes each token from the one before it and its position, so that a replay
// must continue exactly. It can hang, answer slowly and be cut. Thread safe.
#pragma once

#include <grpcpp/grpcpp.h>

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/check.h"
#include "headgate/internal/cluster.grpc.pb.h"
#include "proto/link.h"
#include "proto/wire.h"

namespace headgate {

inline constexpr int64_t kFakeVocab = 250;
inline constexpr int64_t kFakePageTokens = 16;

inline TokenId NextFakeToken(TokenId last, int64_t position) {
  return static_cast<TokenId>((last * 31 + position * 7 + 3) % kFakeVocab);
}

class FakeWorker final : public internal::Worker::Service {
 public:
  using Stream = grpc::ServerReaderWriter<internal::WorkerReply, internal::WorkerCommand>;

  explicit FakeWorker(std::string address) : address_(std::move(address)) { Listen(); }
  ~FakeWorker() override { Stop(); }

  std::atomic<bool> hang = false;
  std::atomic<int> step_us = 0;
  std::atomic<int64_t> vocab = kFakeVocab;
  std::atomic<uint32_t> rows = 1;

  void Listen() {
    stopping_ = false;
    absl::StatusOr<ListeningServer> listening =
        headgate::Listen("worker", address_, nullptr, Callers::kOwnRoles, *this);
    CHECK(listening.ok()) << listening.status();
    server_ = std::move(listening->server);
  }

  // As if the process were killed.
  void Stop() {
    if (server_ == nullptr) return;
    stopping_ = true;
    server_->Shutdown(std::chrono::system_clock::now());
    server_->Wait();
    server_.reset();
  }

  std::vector<Epoch> epochs() const {
    std::lock_guard lock(mutex_);
    return epochs_;
  }
  size_t sequences() const {
    std::lock_guard lock(mutex_);
    return sequences_.size();
  }

  grpc::Status Run(grpc::ServerContext* context, Stream* stream) override;

 private:
  struct Sequence {
    int64_t length = 0;
    TokenId last = 0;
  };

  RankReady Ready(Epoch epoch) const {
    RankReady ready;
    ready.epoch = epoch;
    ready.shape.pages_total = 10'000;
    ready.shape.page_bytes = 1024;
    ready.shape.rows = {{HeadClass::kFull, rows, 0, 0}};
    ready.page_tokens = kFakePageTokens;
    ready.max_positions = 4096;
    ready.vocab = vocab;
    ready.model = "fake";
    return ready;
  }

  StepResult Compute(const StepPlan& plan, bool tells_tokens) {
    std::lock_guard lock(mutex_);
    for (SequenceId id : plan.releases) sequences_.erase(id);
    for (const SequenceStart& start : plan.starts) sequences_[start.sequence] = {};
    StepResult result;
    result.epoch = plan.epoch;
    result.step = plan.step;
    for (const Chunk& chunk : plan.chunks) {
      Sequence& sequence = sequences_.at(chunk.sequence);
      CHECK_EQ(chunk.position, sequence.length);
      if (!chunk.tokens.empty()) sequence.last = chunk.tokens.back();
      sequence.length += chunk.length();
      SequenceResult out;
      out.sequence = chunk.sequence;
      out.pages_held =
          static_cast<uint32_t>((sequence.length + kFakePageTokens - 1) / kFakePageTokens);
      if (chunk.sample) sequence.last = NextFakeToken(sequence.last, sequence.length - 1);
      if (chunk.sample && tells_tokens) {
        out.sampled = true;
        out.token = sequence.last;
        out.logprob = -1.0f;
      }
      result.sequences.push_back(out);
    }
    result.pages.total = 10'000;
    for (const auto& [id, sequence] : sequences_) {
      result.pages.referenced_full +=
          static_cast<uint32_t>((sequence.length + kFakePageTokens - 1) / kFakePageTokens);
    }
    result.pages.free = result.pages.total - result.pages.referenced_full;
    result.pages.page_bytes = 1024;
    result.queues = {{"inbox", 1, 7}, {"unsent_plans", 2, 3}};
    return result;
  }

  const std::string address_;
  std::unique_ptr<grpc::Server> server_;
  std::atomic<bool> stopping_ = false;
  mutable std::mutex mutex_;
  std::vector<Epoch> epochs_;
  std::map<SequenceId, Sequence> sequences_;
};

inline grpc::Status FakeWorker::Run(grpc::ServerContext* context, Stream* stream) {
  internal::WorkerCommand command;
  if (!stream->Read(&command) || !command.has_init()) return grpc::Status::CANCELLED;
  const Epoch epoch = command.init().epoch();
  const bool tells_tokens = command.init().rank() == 0;
  {
    std::lock_guard lock(mutex_);
    epochs_.push_back(epoch);
    sequences_.clear();
  }
  internal::WorkerReply reply;
  ToWire(Ready(epoch), *reply.mutable_ready());
  stream->Write(reply);
  while (stream->Read(&command)) {
    const absl::StatusOr<StepPlan> plan = FromWire(command.plan());
    CHECK(plan.ok()) << plan.status();
    {
      std::lock_guard lock(mutex_);
      if (epochs_.back() != epoch) return grpc::Status::CANCELLED;
    }
    while (hang && !context->IsCancelled() && !stopping_) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    if (step_us > 0) std::this_thread::sleep_for(std::chrono::microseconds(step_us));
    ToWire(Compute(*plan, tells_tokens), *reply.mutable_result());
    if (!stream->Write(reply)) break;
  }
  return grpc::Status::OK;
}

}  // namespace headgate
