// A whole worker group inside a test: one Worker per rank, one thread per rank and step, joined by
// the local collective. Steps through plans as the scheduler would.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "tests/test_files.h"
#include "worker/collective/local.h"
#include "worker/worker.h"

namespace headgate {

inline WorkerOptions SmallOptions(const std::string& model_dir) {
  WorkerOptions options;
  options.model = ModelFolder{model_dir};
  options.page_dtype = DType::kF32;
  options.pages.pages = 20000;
  options.threads = 1;
  return options;
}

inline WorkerOptions StoryOptions() { return SmallOptions(TestModel("stories260k")); }

class GroupRig {
 public:
  static absl::StatusOr<std::unique_ptr<GroupRig>> Create(WorkerOptions options, int ranks = 1) {
    std::unique_ptr<GroupRig> rig(new GroupRig);
    options.ranks = ranks;
    for (int rank = 0; rank < ranks; ++rank) {
      options.rank = rank;
      auto worker = Worker::Create(options, [](std::string_view, double) {});
      if (!worker.ok()) return worker.status();
      rig->workers_.push_back(*std::move(worker));
    }
    if (absl::Status status = rig->BeginEpoch(1); !status.ok()) return status;
    return rig;
  }

  absl::Status BeginEpoch(Epoch epoch) {
    epoch_ = epoch;
    step_ = 0;
    LocalGroup group(static_cast<int>(workers_.size()), absl::Seconds(60));
    std::vector<absl::Status> statuses(workers_.size());
    ForRanks([&](size_t r) {
      statuses[r] = workers_[r]->BeginEpoch(epoch, group.Join(static_cast<int>(r)));
    });
    for (const absl::Status& status : statuses) {
      if (!status.ok()) return status;
    }
    return absl::OkStatus();
  }

  // One result per rank, or the first error. Fills in epoch and step.
  absl::StatusOr<std::vector<StepResult>> Step(StepPlan plan) {
    plan.epoch = epoch_;
    plan.step = ++step_;
    std::vector<absl::StatusOr<StepResult>> results(workers_.size());
    ForRanks([&](size_t r) {
      const absl::Status submitted = workers_[r]->Submit(plan);
      results[r] = submitted.ok() ? workers_[r]->Await() : submitted;
    });
    std::vector<StepResult> ok;
    for (auto& result : results) {
      if (!result.ok()) {
        --step_;
        return result.status();
      }
      ok.push_back(*std::move(result));
    }
    for (const auto& worker : workers_) {
      if (absl::Status status = worker->CheckPages(); !status.ok()) return status;
    }
    return ok;
  }

  // Prefills `prompt` in chunks and samples `count` tokens. `emitted` (replayed output) is fed
  // after the prompt and counts as output.
  absl::StatusOr<std::vector<SequenceResult>> Generate(SequenceId id,
                                                       const std::vector<TokenId>& prompt,
                                                       int64_t count, int64_t chunk_tokens,
                                                       const SamplingParams& sampling = {},
                                                       const std::vector<TokenId>& emitted = {}) {
    std::vector<TokenId> feed = prompt;
    feed.insert(feed.end(), emitted.begin(), emitted.end());
    std::vector<SequenceResult> outputs;
    StepPlan plan;
    plan.starts.push_back(
        {id, sampling, static_cast<int64_t>(emitted.size()), static_cast<int64_t>(prompt.size())});
    int64_t position = 0;
    while (static_cast<int64_t>(outputs.size()) < count) {
      Chunk chunk;
      chunk.sequence = id;
      chunk.position = position;
      const int64_t left = static_cast<int64_t>(feed.size()) - position;
      if (left > 0) {
        const int64_t length = std::min(left, chunk_tokens);
        chunk.tokens.assign(feed.begin() + position, feed.begin() + position + length);
      }
      chunk.sample = left <= chunk.length();
      position += chunk.length();
      plan.chunks = {chunk};
      auto results = Step(plan);
      if (!results.ok()) return results.status();
      plan = StepPlan();
      if (chunk.sample) outputs.push_back(results->front().sequences.front());
    }
    return outputs;
  }

  absl::Status Release(SequenceId id) {
    StepPlan plan;
    plan.releases.push_back(id);
    return Step(plan).status();
  }

  Worker& worker(int rank = 0) { return *workers_[static_cast<size_t>(rank)]; }

 private:
  GroupRig() = default;

  template <typename Body>
  void ForRanks(const Body& body) {
    if (workers_.size() == 1) return body(size_t{0});
    std::vector<std::thread> threads;
    for (size_t r = 0; r < workers_.size(); ++r) threads.emplace_back([&body, r] { body(r); });
    for (auto& thread : threads) thread.join();
  }

  std::vector<std::unique_ptr<Worker>> workers_;
  Epoch epoch_ = 0;
  StepId step_ = 0;
};

inline std::vector<TokenId> Tokens(const std::vector<SequenceResult>& results) {
  std::vector<TokenId> tokens;
  for (const SequenceResult& result : results) tokens.push_back(result.token);
  return tokens;
}

}  // namespace headgate
