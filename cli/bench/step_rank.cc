#include "cli/bench/step_rank.h"

#include <algorithm>
#include <span>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "cli/bench/shared_pages.h"
#include "worker/backend_factory.h"
#include "worker/model/random_weights.h"
#include "worker/page_budget.h"

namespace headgate {
namespace {

constexpr int64_t kFillTokens = 1 << 16;  // positions claimed at a time when a context is made

}  // namespace

absl::StatusOr<std::unique_ptr<StepRank>> StepRank::Create(const StepBenchOptions& options,
                                                           const StepSetup& setup,
                                                           Collective& peers) {
  std::unique_ptr<StepRank> rank(new StepRank(options, setup, peers));
  RETURN_IF_ERROR(rank->Load());
  return rank;
}

StepRank::~StepRank() {
  if (backend_ != nullptr) backend_->Connect(nullptr).IgnoreError();
}

absl::Status StepRank::MakeDevice() {
  WorkerOptions worker;
  worker.device = options_.device;
  worker.rank = peers_.rank();
  worker.ranks = peers_.size();
  const int cores = static_cast<int>(std::thread::hardware_concurrency());
  if (worker.ranks > 1) worker.threads = std::max(1, cores / worker.ranks);
  ASSIGN_OR_RETURN(backend_, MakeBackend(worker));
  if (setup_.page_layers < setup_.shape.layers) {
    backend_ = MakeSharedPages(std::move(backend_), setup_.page_layers);
  }
  return absl::OkStatus();
}

absl::Status StepRank::Load() {
  const ModelShape& shape = setup_.shape;
  RETURN_IF_ERROR(MakeDevice());
  RankShard shard = MakeRankShard(shape, setup_.placement, peers_.rank(), peers_.size());
  SamplerShape sampler{.vocabulary = {}, .rank = peers_.rank()};
  for (const Span& part : shard.vocab) sampler.vocabulary.push_back(part.size());
  ASSIGN_OR_RETURN(LoadedWeights made,
                   MakeRandomWeights(shape, shard, {}, 1, *backend_, [](double) {}));
  weight_bytes_read_ = made.weights.step_bytes();
  weight_bytes_held_ = made.bytes;
  const int64_t rows_max = *std::max_element(options_.batches.begin(), options_.batches.end());
  ASSIGN_OR_RETURN(transformer_, Transformer::Create(shape, std::move(shard),
                                                     std::move(made.weights), rows_max, *backend_));
  RETURN_IF_ERROR(MakePages());
  sampler.rows_max = transformer_->logit_rows_max();
  sampler.uses_max = rows_max;
  ASSIGN_OR_RETURN(sampler_, backend_->CreateSampler(sampler));
  return backend_->Connect(&peers_);
}

absl::Status StepRank::MakePages() {
  auto rows = RowsOfRank(setup_.placement, peers_.rank(), setup_.rows, setup_.shape.kv_heads);
  const auto layout_of = [this](const auto& rows_by_layer) {
    return MakeKvLayout(options_.page_tokens, setup_.shape.head_dim, DType::kBF16, rows_by_layer);
  };
  layout_ = layout_of(rows);
  rows.resize(static_cast<size_t>(setup_.page_layers));
  const KvLayout layout = layout_of(rows);
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  ASSIGN_OR_RETURN(const uint32_t pages,
                   CountPages({.memory_bytes = options_.kv_memory_mib << 20}, layout,
                              backend_->PageMemoryBytes(peers_.size())));
  ASSIGN_OR_RETURN(store_, backend_->CreatePages(layout, pages, setup_.positions_max));
  return absl::OkStatus();
}

// Ranks need not have the same heads, nor the same memory: they ask each other.
absl::Status StepRank::CheckFits(int64_t batch, int64_t context) {
  const KvLayout& layout = store_->layout();
  const int64_t positions = StepPositions(context, options_.steps);
  int64_t pages = 0;
  for (const RowSpec& row : layout.rows) {
    pages += batch * WorstCasePages(row, positions, layout.page_tokens);
  }
  const int64_t total = store_->Stats().total;
  float lacking = pages <= total && batch <= store_->sequences_max() ? 0.0f : 1.0f;
  RETURN_IF_ERROR(peers_.AllReduceSum({&lacking, 1}));
  if (lacking == 0.0f) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("needs ", pages, " pages of ", total));
}

// Claims the pages of the contexts; what lies in them does not matter for the time.
absl::Status StepRank::Fill(int64_t batch, int64_t context) {
  if (StepClock* const clock = backend_->step_clock()) clock->Clear();
  sampler_->Clear();
  store_->Clear();
  chunks_.clear();
  uses_.clear();
  for (int64_t i = 0; i < batch; ++i) {
    const SequenceId id = static_cast<SequenceId>(i + 1);
    RETURN_IF_ERROR(store_->AddSequence(id));
    sampler_->Add({id, {}, 0, 0});
    for (int64_t at = 0; at < context; at += kFillTokens) {
      const int64_t length = std::min(kFillTokens, context - at);
      RETURN_IF_ERROR(store_->BeginStep(std::vector<Chunk>{
          {id, at, std::vector<TokenId>(static_cast<size_t>(length)), false, {}}}));
      store_->Commit();
    }
    chunks_.push_back({id, context, {}, true, {}});
    uses_.push_back({.sequence = id, .sample = true});
  }
  return absl::OkStatus();
}

// One decode step of every sequence, as a worker submits it.
absl::Status StepRank::Submit() {
  if (StepClock* const clock = backend_->step_clock()) clock->Begin();
  RETURN_IF_ERROR(store_->BeginStep(chunks_));
  batch_ = {};
  for (Chunk& chunk : chunks_) {
    batch_.sequences.push_back({chunk.sequence, chunk.position, batch_.rows(), 1});
    batch_.outputs.push_back(static_cast<int32_t>(batch_.rows()));
    batch_.tokens.push_back(kLastSampled);
    batch_.positions.push_back(static_cast<int32_t>(chunk.position++));
  }
  sampler_->BeginStep(batch_);
  RETURN_IF_ERROR(transformer_->Forward(batch_));
  store_->Commit();
  const int64_t block = transformer_->logit_rows_max();
  const auto rows = static_cast<int64_t>(uses_.size());
  for (int64_t at = 0; at < rows; at += block) {
    const int64_t count = std::min(block, rows - at);
    RETURN_IF_ERROR(sampler_->Choose(
        transformer_->Logits(at, count),
        std::span(uses_).subspan(static_cast<size_t>(at), static_cast<size_t>(count))));
  }
  return sampler_->EndStep();
}

absl::Status StepRank::Await(bool measured) {
  RETURN_IF_ERROR(sampler_->Await().status());
  StepClock* const clock = backend_->step_clock();
  if (clock == nullptr) return absl::OkStatus();
  const DeviceTimes times = clock->Take();
  if (!measured) return absl::OkStatus();
  if (!device_times_.has_value()) device_times_.emplace();
  *device_times_ += times;
  return absl::OkStatus();
}

// Median microseconds from one step's end to the next one's, the next always submitted before.
absl::StatusOr<double> StepRank::Steps() {
  std::vector<double> micros;
  absl::Time last;
  device_times_.reset();
  RETURN_IF_ERROR(Submit());
  for (int64_t i = 0; i < StepBenchOptions::kWarmUpSteps + options_.steps; ++i) {
    RETURN_IF_ERROR(Submit());
    const bool measured = i >= StepBenchOptions::kWarmUpSteps;
    RETURN_IF_ERROR(Await(measured));
    const absl::Time now = absl::Now();
    if (measured) micros.push_back(absl::ToDoubleMicroseconds(now - last));
    last = now;
  }
  RETURN_IF_ERROR(Await(false));
  std::sort(micros.begin(), micros.end());
  return micros[micros.size() / 2];
}

int64_t StepRank::VisibleBytes(int64_t batch, int64_t position) const {
  int64_t tokens = 0;
  for (const RowSpec& row : layout_.rows) {
    const int64_t window = WindowStart(row, position, layout_.page_tokens);
    tokens += std::min(row.sinks, window) + position + 1 - window;
  }
  return batch * tokens * layout_.page_bytes() / layout_.page_tokens;
}

int64_t StepRank::HeldBytes() const {
  int64_t pages = 0;
  for (const Chunk& chunk : chunks_) pages += store_->PagesHeld(chunk.sequence);
  return pages * layout_.page_bytes();
}

absl::StatusOr<StepFigures> StepRank::Run(int64_t batch, int64_t context) {
  RETURN_IF_ERROR(CheckFits(batch, context));
  RETURN_IF_ERROR(Fill(batch, context));
  RETURN_IF_ERROR(peers_.Barrier());
  ASSIGN_OR_RETURN(const double micros, Steps());
  RETURN_IF_ERROR(peers_.Barrier());
  return StepFigures{batch,       context,      micros, VisibleBytes(batch, context),
                     HeldBytes(), device_times_};
}

}  // namespace headgate
