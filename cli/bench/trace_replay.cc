#include "cli/bench/trace_replay.h"

#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <memory>
#include <mutex>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/synchronization/blocking_counter.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "headgate/v1/inference.grpc.pb.h"
#include "proto/link.h"

namespace headgate {
namespace {

constexpr size_t kStreamsOfAConnection = 64;  // a server allows 100
constexpr int32_t kFirstOrdinaryId = 200;     // below are often control tokens

using Stubs = std::vector<std::unique_ptr<v1::Inference::Stub>>;

// As many connections as keep every stream below the server's limit for one: at most 512, as long
// as the trace keeps to kTraceRequestsMax.
Stubs Connect(const std::string& server, size_t streams) {
  grpc::ChannelArguments args;
  args.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // else channels share a connection
  Stubs stubs;
  for (size_t i = 0; i * kStreamsOfAConnection < streams; ++i) {
    stubs.push_back(v1::Inference::NewStub(
        grpc::CreateCustomChannel(server, grpc::InsecureChannelCredentials(), args)));
  }
  return stubs;
}

absl::StatusOr<int64_t> AskVocabulary(v1::Inference::Stub& stub, const std::string& server) {
  grpc::ClientContext context;
  context.set_wait_for_ready(true);
  context.set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(10)));
  v1::ListModelsResponse models;
  const grpc::Status status = stub.ListModels(&context, {}, &models);
  if (!status.ok() || models.models_size() == 0) {
    return absl::UnavailableError(
        absl::StrCat("cannot reach ", server, "; is `headgate serve` running there?"));
  }
  return models.models(0).vocab_size();
}

// One stream. gRPC's threads call it, one at a time.
class Stream final : private grpc::ClientReadReactor<v1::GenerateResponse> {
 public:
  Stream(v1::GenerateRequest request, absl::BlockingCounter& running)
      : request_(std::move(request)), running_(running) {
    times_.prompt_tokens = request_.tokens().ids_size();
  }

  void Start(v1::Inference::Stub& stub, absl::Duration timeout, absl::Time replay_start) {
    {
      std::lock_guard lock(mutex_);
      start_ = last_ = absl::Now();
      times_.start = start_ - replay_start;
    }
    context_.set_deadline(absl::ToChronoTime(start_ + timeout));
    stub.async()->Generate(&context_, &request_, this);
    StartRead(&response_);
    StartCall();
  }

  RequestTimes Take() {
    std::lock_guard lock(mutex_);
    return std::move(times_);
  }

 private:
  void OnReadDone(bool ok) override {
    std::lock_guard lock(mutex_);
    if (!ok) return;
    if (response_.tokens_size() > 0) CountTokens(response_.tokens_size(), absl::Now());
    StartRead(&response_);
  }

  void CountTokens(int count, absl::Time now) {
    const bool first = times_.output_tokens == 0;
    if (first) {
      times_.first_token = now - start_;
      last_ = now;  // what comes in the same message comes at once
    }
    times_.gaps.insert(times_.gaps.end(), static_cast<size_t>(first ? count - 1 : count),
                       (now - last_) / count);
    times_.output_tokens += count;
    last_ = now;
  }

  void OnDone(const grpc::Status& status) override {
    {
      std::lock_guard lock(mutex_);
      times_.end = absl::Now() - start_;
      times_.status = FromGrpc(status);
    }
    running_.DecrementCount();
  }

  grpc::ClientContext context_;
  const v1::GenerateRequest request_;
  v1::GenerateResponse response_;
  absl::BlockingCounter& running_;

  std::mutex mutex_;  // every callback of gRPC takes it first
  RequestTimes times_;
  absl::Time start_;
  absl::Time last_;  // message with tokens
};

v1::GenerateRequest MakeRequest(const TraceRequest& wanted, int64_t vocabulary,
                                std::mt19937_64& random) {
  const int32_t last = static_cast<int32_t>(vocabulary) - 1;
  std::uniform_int_distribution<int32_t> ids(std::min(kFirstOrdinaryId, last), last);
  v1::GenerateRequest request;
  for (int64_t i = 0; i < wanted.prompt_tokens; ++i) {
    request.mutable_tokens()->add_ids(ids(random));
  }
  request.set_max_tokens(static_cast<int32_t>(wanted.output_tokens));
  request.set_ignore_eos(true);
  return request;
}

}  // namespace

absl::StatusOr<ReplayTimes> ReplayTrace(const std::vector<TraceRequest>& trace,
                                        const ReplayOptions& options) {
  RETURN_IF_ERROR(CheckAddress(options.server));
  const Stubs stubs = Connect(options.server, trace.size());
  ASSIGN_OR_RETURN(const int64_t vocabulary, AskVocabulary(*stubs.front(), options.server));
  std::mt19937_64 random(options.seed);
  absl::BlockingCounter running(static_cast<int>(trace.size()));
  std::vector<std::unique_ptr<Stream>> streams;  // made before the clock runs
  streams.reserve(trace.size());
  for (const TraceRequest& request : trace) {
    streams.push_back(std::make_unique<Stream>(MakeRequest(request, vocabulary, random), running));
  }
  const absl::Time start = absl::Now();
  for (size_t i = 0; i < trace.size(); ++i) {
    absl::SleepFor(start + trace[i].arrival - absl::Now());
    streams[i]->Start(*stubs[i % stubs.size()], options.timeout, start);
  }
  running.Wait();
  ReplayTimes times;
  times.total = absl::Now() - start;
  for (const auto& stream : streams) times.requests.push_back(stream->Take());
  return times;
}

}  // namespace headgate
