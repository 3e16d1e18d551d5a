// How a worker comes to be: files, policy, shard, weights, pages. See worker.h.
#include <spdlog/spdlog.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "kvstore/head_placement.h"
#include "worker/backend_factory.h"
#include "worker/collective/local.h"
#include "worker/format/checkpoint.h"
#include "worker/format/weight_plan.h"
#include "worker/model/random_weights.h"
#include "worker/model/shard.h"
#include "worker/model/weight_loader.h"
#include "worker/worker.h"

namespace headgate {
namespace {

constexpr uint64_t kRandomSeed = 1;  // all ranks' and all starts' weights are the same

absl::Status CheckOptions(const WorkerOptions& options) {
  if (!(1 <= options.ranks && 0 <= options.rank && options.rank < options.ranks)) {
    return absl::InvalidArgumentError(
        absl::StrCat("worker: rank ", options.rank, " of ", options.ranks));
  }
  if (!(1 <= options.step_tokens_max && options.step_tokens_max <= 65536)) {
    return absl::InvalidArgumentError(absl::StrCat("worker: ", options.step_tokens_max,
                                                   " tokens a step; 1 to 65536 are possible"));
  }
  if (!(options.positions_max >= 0 && options.pages.memory_bytes >= 0)) {
    return absl::InvalidArgumentError("worker: a negative limit of positions or page memory");
  }
  return absl::OkStatus();
}

// All but the rows of one call.
SamplerShape ShapeOfSampler(const RankShard& shard, int64_t step_tokens_max) {
  SamplerShape shape;
  for (const Span& part : shard.vocab) shape.vocabulary.push_back(part.size());
  shape.rank = shard.rank;
  shape.uses_max = step_tokens_max;
  return shape;
}

}  // namespace

struct Worker::Headers {
  std::optional<Checkpoint> checkpoint;  // nullopt: random weights
  WeightFormats formats;
  PolicyBundle policy;
};

absl::StatusOr<std::unique_ptr<Worker>> Worker::Create(const WorkerOptions& options,
                                                       const Progress& progress) {
  RETURN_IF_ERROR(CheckOptions(options));
  std::unique_ptr<Worker> worker(new Worker(options));
  RETURN_IF_ERROR(worker->Load(progress));
  return worker;
}

absl::Status Worker::Check(const WorkerOptions& options) {
  RETURN_IF_ERROR(CheckOptions(options));
  Worker worker(options);
  RETURN_IF_ERROR(CheckBackend(options));
  return worker.ReadHeaders().status();
}

absl::StatusOr<Worker::Headers> Worker::ReadHeaders() {
  ASSIGN_OR_RETURN(shape_, ReadShape(options_.model));
  RETURN_IF_ERROR(LimitPositions());
  Headers headers;
  const auto* folder = std::get_if<ModelFolder>(&options_.model);
  if (folder != nullptr) {
    ASSIGN_OR_RETURN(headers.checkpoint, Checkpoint::Open(folder->path));
    RETURN_IF_ERROR(CheckWeights(*headers.checkpoint, shape_));
  }
  ASSIGN_OR_RETURN(headers.formats,
                   ChooseWeightFormats(WeightsOn(options_), folder == nullptr ? "" : folder->path));
  ASSIGN_OR_RETURN(headers.policy, LoadPolicy());
  return headers;
}

absl::Status Worker::Load(const Progress& progress) {
  progress("reading headers", 0.0);
  ASSIGN_OR_RETURN(const Headers headers, ReadHeaders());
  const PolicyBundle& policy = headers.policy;
  policy_id_ = policy.id;
  ASSIGN_OR_RETURN(const HeadPlacement placement,
                   PlaceHeads(policy.rows, shape_.kv_heads, options_.ranks));
  const KvLayout layout =
      MakeKvLayout(options_.page_tokens, shape_.head_dim, options_.page_dtype,
                   RowsOfRank(placement, options_.rank, policy.rows, shape_.kv_heads));
  RETURN_IF_ERROR(ValidateKvLayout(layout));

  progress("opening the device", 0.0);
  ASSIGN_OR_RETURN(backend_, MakeBackend(options_));
  RankShard shard = MakeRankShard(shape_, placement, options_.rank, options_.ranks);
  const auto told = [&](double done) { progress("loading weights", done); };
  told(0.0);
  ASSIGN_OR_RETURN(
      LoadedWeights loaded,
      headers.checkpoint.has_value()
          ? LoadWeights(*headers.checkpoint, shape_, shard, headers.formats, *backend_, told)
          : MakeRandomWeights(shape_, shard, headers.formats, kRandomSeed, *backend_, told));
  weights_note_ = absl::StrCat(loaded.matrices, " matrices, ", loaded.bytes >> 20, " MiB");
  if (loaded.matrices_as_stored > 0) {
    spdlog::warn("worker: {} of {} matrices keep their stored format: inputs are no multiple of 32",
                 loaded.matrices_as_stored, loaded.matrices);
  }
  SamplerShape sampler = ShapeOfSampler(shard, options_.step_tokens_max);
  progress("preparing products", 0.0);
  ASSIGN_OR_RETURN(transformer_,
                   Transformer::Create(shape_, std::move(shard), std::move(loaded.weights),
                                       options_.step_tokens_max, *backend_));
  sampler.rows_max = transformer_->logit_rows_max();
  sequences_ = std::make_unique<SequenceTable>(
      PlanLimits{shape_.vocab, positions_max_, options_.step_tokens_max});
  // Last, so that a share of the free memory is a share of what is left.
  progress("making pages", 0.0);
  RETURN_IF_ERROR(MakePages(layout, sampler, progress));
  progress("loaded", 1.0);
  return absl::OkStatus();
}

// Memory that lacks shows here, where fewer pages help, and never in service.
absl::Status Worker::MakePages(const KvLayout& layout, const SamplerShape& sampler,
                               const Progress& progress) {
  ASSIGN_OR_RETURN(const uint32_t wanted,
                   CountPages(options_.pages, layout, backend_->PageMemoryBytes(options_.ranks)));
  const auto make = [&](uint32_t pages) -> absl::Status {
    sampler_.reset();
    store_.reset();
    ASSIGN_OR_RETURN(store_, backend_->CreatePages(layout, pages, positions_max_));
    ASSIGN_OR_RETURN(sampler_, backend_->CreateSampler(sampler));
    if (options_.around_sampler) sampler_ = options_.around_sampler(std::move(sampler_));
    return WarmUp(progress);
  };
  ASSIGN_OR_RETURN(pages_total_, FitPages(wanted, static_cast<uint32_t>(layout.rows.size()), make));
  if (pages_total_ < wanted) {
    spdlog::warn("worker: the device's memory holds {} of the {} pages asked for", pages_total_,
                 wanted);
  }
  return absl::OkStatus();
}

// A GPU loads code at first use, and records a decode step when it sees it again: here, and not
// when a client waits. Ranks that sum with peers cannot: they have not met yet.
absl::Status Worker::WarmUp(const Progress& progress) {
  if (options_.device == "cpu" || options_.ranks > 1) return absl::OkStatus();
  progress("first step", 0.0);
  constexpr int64_t kDecodes = 2;
  const int64_t pages_a_row =
      int64_t{store_->Stats().total} / static_cast<int64_t>(store_->layout().rows.size());
  const int64_t tokens = std::min({int64_t{64}, options_.step_tokens_max, positions_max_ - kDecodes,
                                   pages_a_row * options_.page_tokens - kDecodes});
  if (tokens < 1) return absl::OkStatus();
  RETURN_IF_ERROR(BeginEpoch(1, MakeSoloCollective()));
  StepPlan plan;
  plan.starts.push_back({1, {}, 0, tokens});
  plan.chunks.push_back({1, 0, std::vector<TokenId>(static_cast<size_t>(tokens)), true, {}});
  for (int64_t step = 1; step <= 1 + kDecodes; ++step) {
    plan.epoch = 1;
    plan.step = static_cast<StepId>(step);
    RETURN_IF_ERROR(Submit(plan));
    RETURN_IF_ERROR(Await().status());
    plan = StepPlan();
    plan.chunks.push_back({1, tokens + step - 1, {}, true, {}});
  }
  EndEpoch();
  return absl::OkStatus();
}

absl::StatusOr<PolicyBundle> Worker::LoadPolicy() const {
  const PolicyTarget target{shape_.layers, shape_.kv_heads, options_.page_tokens};
  if (options_.policy_dir.empty()) return FullPolicy(target);
  return LoadPolicyBundle(options_.policy_dir, options_.policy, target);
}

// Sliding-window attention is not computed: within the window it is full attention, and beyond it
// the model would see what it never saw in training.
absl::Status Worker::LimitPositions() {
  positions_max_ = shape_.max_positions;
  if (options_.positions_max > 0) positions_max_ = std::min(positions_max_, options_.positions_max);
  if (shape_.sliding_window > 0 && !(positions_max_ <= shape_.sliding_window)) {
    return absl::UnimplementedError(absl::StrCat(
        DefaultName(options_.model), ": ", shape_.architecture, " with sliding_window ",
        shape_.sliding_window, " below its ", positions_max_,
        " positions is not supported; limit the positions to ", shape_.sliding_window));
  }
  return absl::OkStatus();
}

// Everything that must be the same on all ranks, beyond what the scheduler compares.
std::string Worker::Agreement() const {
  return absl::StrCat(shape_.architecture, " ", shape_.layers, " ", shape_.hidden, " ",
                      shape_.intermediate, " ", shape_.heads, " ", shape_.kv_heads, " ",
                      shape_.head_dim, " ", shape_.vocab, " ", shape_.rope.theta, " policy ",
                      policy_id_, " weights ", options_.weights, " page ", options_.page_tokens,
                      " ", std::string(DTypeName(options_.page_dtype)), " limits ", positions_max_,
                      " ", options_.step_tokens_max);
}

RankProfile Worker::Profile() const {
  RankProfile profile;
  profile.shape.pages_total = pages_total_;
  profile.shape.page_bytes = static_cast<uint64_t>(store_->layout().page_bytes());
  profile.shape.sequences_max = store_->sequences_max();
  profile.shape.rows = CountRowGroups(store_->layout());
  profile.page_tokens = options_.page_tokens;
  profile.max_positions = positions_max_;
  profile.vocab = shape_.vocab;
  profile.model = options_.model_name.empty() ? DefaultName(options_.model) : options_.model_name;
  return profile;
}

std::string Worker::Describe() const {
  return absl::StrCat(backend_->Describe(), "; ", weights_note_, "; ", pages_total_, " pages of ",
                      store_->layout().page_bytes(), " bytes, policy ", policy_id_);
}

}  // namespace headgate
