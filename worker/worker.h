// One rank of a worker group: its shard of the model, its pages, its sequences. One step thread
// calls it; the constructor's thread may be another.
//
//   auto worker = Worker::Create(options, progress);
//   worker->BeginEpoch(epoch, collective);
//   worker->Submit(plan); worker->Submit(next_plan); result = worker->Await();
//
// A step that is submitted may still run on the device; the sequences' tokens stay there for the
// next one. Results come in the order of the plans.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/dtype.h"
#include "base/group_shape.h"
#include "base/model_shape.h"
#include "base/step.h"
#include "kvstore/page_store.h"
#include "kvstore/policy/policy_bundle.h"
#include "worker/backend.h"
#include "worker/collective/collective.h"
#include "worker/model/model_source.h"
#include "worker/model/transformer.h"
#include "worker/page_budget.h"
#include "worker/sampling/token_sampler.h"
#include "worker/sequence_table.h"

namespace headgate {

struct WorkerOptions {
  ModelSource model;
  std::string model_name;  // empty = DefaultName(model)
  std::string policy_dir;  // empty = every head keeps everything
  PolicyOptions policy;
  std::string weights = "auto";  // see ChooseWeightFormats
  DType page_dtype = DType::kBF16;
  int64_t page_tokens = 16;
  PageBudget pages;
  int64_t step_tokens_max = 512;
  int64_t positions_max = 0;  // of one sequence; 0 = as many as the model takes
  int rank = 0;
  int ranks = 1;
  int threads = 0;             // 0 = all cores
  std::string isa = "auto";    // CPU instruction set: see MakeCpuBackend
  std::string device = "cpu";  // "cpu", "cuda" (the GPU whose number is the rank) or "cuda:<n>"
  // Tests: puts a sampler around the backend's own, such as one that answers late.
  std::function<std::unique_ptr<TokenSampler>(std::unique_ptr<TokenSampler>)> around_sampler;
};

// What the scheduler must know of a rank, and what all ranks must agree on.
struct RankProfile {
  RankShape shape;
  int64_t page_tokens = 0;
  int64_t max_positions = 0;
  int64_t vocab = 0;
  std::string model;
};

class Worker {
 public:
  // Called on the creating thread with a phase and the fraction of it that is done.
  using Progress = std::function<void(std::string_view phase, double fraction)>;

  // Reads the model, cuts out this rank's shard and packs it. Errors name the file, option or
  // tensor that is wrong.
  static absl::StatusOr<std::unique_ptr<Worker>> Create(const WorkerOptions& options,
                                                        const Progress& progress);

  // What shows without reading weights: options, model folder, policy. Errors as Create's.
  static absl::Status Check(const WorkerOptions& options);

  // Forgets all sequences; steps of `epoch` follow. All ranks call it together: FAILED_PRECONDITION
  // when rank 0 has another model, policy or option; INVALID_ARGUMENT when the collective is not of
  // this rank and group size; UNAVAILABLE when a peer is gone.
  absl::Status BeginEpoch(Epoch epoch, std::unique_ptr<Collective> collective);

  // Forgets all sequences and the collective.
  void EndEpoch();

  // Queues one plan. FAILED_PRECONDITION: the plan breaks the contract or pages run out, the epoch
  // is over. UNAVAILABLE: a peer is gone, the process should end.
  absl::Status Submit(const StepPlan& plan);
  // Steps submitted and not awaited. At most kStepsInFlightMax.
  size_t in_flight() const { return submitted_.size(); }
  static constexpr size_t kStepsInFlightMax = 2;
  // Would Await return at once? Errors as Await's. REQUIRES: in_flight() > 0.
  absl::StatusOr<bool> Ready();
  // Waits for the oldest step in flight. UNAVAILABLE: a peer is gone, the process should end.
  absl::StatusOr<StepResult> Await();

  RankProfile Profile() const;
  // Device and weights in one line, for the log.
  std::string Describe() const;

  // Every page is accounted for; INTERNAL names the first that is not.
  absl::Status CheckPages() const { return store_->CheckIntegrity(); }

 private:
  // What an outcome of the sampler belongs to.
  struct Output {
    size_t chunk = 0;
    size_t score = 0;  // index into the chunk's score_targets
  };

  // A step in flight.
  struct Submitted {
    StepResult result;  // all but what the sampler will tell
    bool computes = false;
    std::vector<LogitUse> uses;
    std::vector<Output> outputs;  // parallel to `uses`
    absl::Time start;
  };

  explicit Worker(const WorkerOptions& options) : options_(options) {}

  struct Headers;
  absl::StatusOr<Headers> ReadHeaders();
  absl::Status Load(const Progress& progress);
  absl::Status MakePages(const KvLayout& layout, const SamplerShape& sampler,
                         const Progress& progress);
  absl::Status WarmUp(const Progress& progress);
  absl::StatusOr<PolicyBundle> LoadPolicy() const;
  absl::Status LimitPositions();
  std::string Agreement() const;
  void LeaveGroup();
  absl::Status Apply(const StepPlan& plan);
  absl::Status Compute(const StepPlan& plan, Submitted& step);
  void ListOutputs(const StepPlan& plan, Batch& batch, Submitted& step);
  absl::Status ChooseTokens(Submitted& step);
  std::vector<QueueStats> Queues() const;
  void FillIn(const LogitUse& use, const Output& output, LogitOutcome outcome, StepResult& result);

  const WorkerOptions options_;
  ModelShape shape_;
  int64_t positions_max_ = 0;
  uint32_t pages_total_ = 0;
  std::string policy_id_;
  std::string weights_note_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<PageStore> store_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<SequenceTable> sequences_;
  std::unique_ptr<Collective> collective_;  // null between epochs
  std::unique_ptr<TokenSampler> sampler_;
  std::deque<Submitted> submitted_;  // oldest first
  Epoch epoch_ = 0;
  StepId last_step_ = 0;  // submitted
  absl::Time last_end_;   // of a step
};

}  // namespace headgate
