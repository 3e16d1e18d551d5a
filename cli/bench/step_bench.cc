#include "cli/bench/step_bench.h"

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "kvstore/head_placement.h"
#include "kvstore/policy/policy_bundle.h"
#include "worker/backend_factory.h"
#include "worker/model/named_shape.h"
#include "worker/model/random_weights.h"
#include "worker/model/transformer.h"
#include "worker/page_budget.h"

namespace headgate {
namespace {

constexpr int64_t kWarmUp = 3;
constexpr int64_t kFillTokens = 1 << 16;  // positions claimed at a time when a context is made

struct Measured {
  int64_t batch = 0;
  int64_t context = 0;
  double micros = 0.0;
  int64_t kv_bytes = 0;               // pages that the step's queries see
  std::optional<DeviceTimes> device;  // of all measured steps
};

class StepBench {
 public:
  static absl::StatusOr<std::unique_ptr<StepBench>> Create(const StepBenchOptions& options);

  // RESOURCE_EXHAUSTED when the contexts do not fit in memory.
  absl::StatusOr<Measured> Run(int64_t batch, int64_t context);

  int64_t weight_bytes() const { return weight_bytes_; }
  std::string device() const { return backend_->Describe(); }
  bool has_clock() const { return backend_->step_clock() != nullptr; }

 private:
  explicit StepBench(const StepBenchOptions& options) : options_(options) {}

  absl::Status Load();
  int64_t Positions(int64_t context) const { return context + 1 + kWarmUp + options_.steps; }
  absl::Status CheckFits(int64_t batch, int64_t context) const;
  absl::Status Fill(int64_t batch, int64_t context);
  absl::Status Submit();
  absl::StatusOr<double> Steps();
  absl::Status Await(bool measured);
  int64_t VisibleBytes(int64_t batch, int64_t position) const;

  const StepBenchOptions options_;
  ModelShape shape_;
  int64_t weight_bytes_ = 0;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<PageStore> store_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<TokenSampler> sampler_;
  std::vector<Chunk> chunks_;  // the next decode step
  std::vector<LogitUse> uses_;
  Batch batch_;
  std::optional<DeviceTimes> device_;  // of the measured steps; nullopt: no clock
};

absl::StatusOr<std::unique_ptr<StepBench>> StepBench::Create(const StepBenchOptions& options) {
  std::unique_ptr<StepBench> bench(new StepBench(options));
  RETURN_IF_ERROR(bench->Load());
  return bench;
}

absl::Status StepBench::Load() {
  ASSIGN_OR_RETURN(shape_, NamedShape(options_.shape));
  for (const int64_t context : options_.contexts) {
    if (Positions(context) <= shape_.max_positions) continue;
    return absl::InvalidArgumentError(
        absl::StrCat("--context ", context, ": ", options_.shape, " has ", shape_.max_positions,
                     " positions, and the steps need ", Positions(0), " of them"));
  }
  const PolicyTarget target{shape_.layers, shape_.kv_heads, options_.page_tokens};
  PolicyBundle policy = FullPolicy(target);
  if (!options_.policy.empty()) {
    PolicyOptions chosen;
    if (options_.sparsity >= 0) chosen.sparsity = options_.sparsity;
    ASSIGN_OR_RETURN(policy, LoadPolicyBundle(options_.policy, chosen, target));
  }
  ASSIGN_OR_RETURN(const HeadPlacement placement, PlaceHeads(policy.rows, shape_.kv_heads, 1));
  RankShard shard = MakeRankShard(shape_, placement, 0, 1);
  WorkerOptions worker;
  worker.device = options_.device;
  ASSIGN_OR_RETURN(backend_, MakeBackend(worker));
  ASSIGN_OR_RETURN(LoadedWeights made,
                   MakeRandomWeights(shape_, shard, {}, 1, *backend_, [](double) {}));
  weight_bytes_ = made.weights.step_bytes();
  const int64_t rows_max = *std::max_element(options_.batches.begin(), options_.batches.end());
  ASSIGN_OR_RETURN(transformer_, Transformer::Create(shape_, std::move(shard),
                                                     std::move(made.weights), rows_max, *backend_));
  const KvLayout layout = MakeKvLayout(options_.page_tokens, shape_.head_dim, DType::kBF16,
                                       RowsOfRank(placement, 0, policy.rows, shape_.kv_heads));
  ASSIGN_OR_RETURN(const uint32_t pages, CountPages({.memory_bytes = options_.kv_memory_mib << 20},
                                                    layout, backend_->PageMemoryBytes(1)));
  ASSIGN_OR_RETURN(store_, backend_->CreatePages(layout, pages, shape_.max_positions));
  ASSIGN_OR_RETURN(sampler_, backend_->CreateSampler({.vocabulary = {shape_.vocab},
                                                      .rows_max = transformer_->logit_rows_max(),
                                                      .uses_max = rows_max}));
  return absl::OkStatus();
}

absl::Status StepBench::CheckFits(int64_t batch, int64_t context) const {
  const KvLayout& layout = store_->layout();
  int64_t pages = 0;
  for (const RowSpec& row : layout.rows) {
    pages += batch * WorstCasePages(row, Positions(context), layout.page_tokens);
  }
  const int64_t total = store_->Stats().total;
  if (pages <= total) return absl::OkStatus();
  return absl::ResourceExhaustedError(absl::StrCat("needs ", pages, " pages of ", total));
}

// Claims the pages of the contexts; what lies in them does not matter for the time.
absl::Status StepBench::Fill(int64_t batch, int64_t context) {
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
absl::Status StepBench::Submit() {
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

absl::Status StepBench::Await(bool measured) {
  RETURN_IF_ERROR(sampler_->Await().status());
  StepClock* const clock = backend_->step_clock();
  if (clock == nullptr) return absl::OkStatus();
  const DeviceTimes times = clock->Take();
  if (!measured) return absl::OkStatus();
  if (!device_.has_value()) device_.emplace();
  device_->busy += times.busy;
  device_->idle += times.idle;
  return absl::OkStatus();
}

// Median microseconds from one step's end to the next one's, the next always submitted before.
absl::StatusOr<double> StepBench::Steps() {
  std::vector<double> micros;
  absl::Time last;
  device_.reset();
  RETURN_IF_ERROR(Submit());
  for (int64_t i = 0; i < kWarmUp + options_.steps; ++i) {
    RETURN_IF_ERROR(Submit());
    RETURN_IF_ERROR(Await(i >= kWarmUp));
    const absl::Time now = absl::Now();
    if (i >= kWarmUp) micros.push_back(absl::ToDoubleMicroseconds(now - last));
    last = now;
  }
  RETURN_IF_ERROR(Await(false));
  std::sort(micros.begin(), micros.end());
  return micros[micros.size() / 2];
}

int64_t StepBench::VisibleBytes(int64_t batch, int64_t position) const {
  const KvLayout& layout = store_->layout();
  int64_t tokens = 0;
  for (const RowSpec& row : layout.rows) {
    const int64_t window = WindowStart(row, position, layout.page_tokens);
    tokens += std::min(row.sinks, window) + position + 1 - window;
  }
  return batch * tokens * layout.page_bytes() / layout.page_tokens;
}

absl::StatusOr<Measured> StepBench::Run(int64_t batch, int64_t context) {
  RETURN_IF_ERROR(CheckFits(batch, context));
  RETURN_IF_ERROR(Fill(batch, context));
  ASSIGN_OR_RETURN(const double micros, Steps());
  return Measured{batch, context, micros, VisibleBytes(batch, context), device_};
}

nlohmann::json Row(const Measured& measured, int64_t weight_bytes) {
  const double bytes = static_cast<double>(weight_bytes + measured.kv_bytes);
  nlohmann::json row = {
      {"batch", measured.batch},
      {"context", measured.context},
      {"us", measured.micros},
      {"tokens_per_s", static_cast<double>(measured.batch) / measured.micros * 1e6},
      {"bytes", bytes},
      {"tb_per_s", bytes / measured.micros / 1e6}};
  if (measured.device.has_value()) {
    const auto [busy, idle] = *measured.device;
    row["idle_share"] = absl::FDivDuration(idle, busy + idle);
  }
  return row;
}

void PrintStep(const nlohmann::json& row, std::ostream& out) {
  out << absl::StreamFormat("%8d %9d ", row["batch"].get<int64_t>(), row["context"].get<int64_t>());
  if (row.contains("error")) {
    out << row["error"].get<std::string>();
  } else {
    out << absl::StreamFormat("%12.1f %12.1f %10.2f", row["us"].get<double>(),
                              row["tokens_per_s"].get<double>(), row["tb_per_s"].get<double>());
    if (row.contains("idle_share")) {
      out << absl::StreamFormat(" %6.2f", 100.0 * row["idle_share"].get<double>());
    }
  }
  out << "\n" << std::flush;
}

}  // namespace

void AddStepBenchOptions(CLI::App& command, StepBenchOptions& options) {
  AddShapeFlags(command, options);
  command.add_option("--batch", options.batches, "sequences, several may be given")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{4096}))
      ->capture_default_str();
  command.add_option("--context", options.contexts, "positions before the step, several")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 20))
      ->capture_default_str();
  command.add_option("--steps", options.steps, "measured steps of each")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  command.add_option("--page-tokens", options.page_tokens, "positions in a page")
      ->capture_default_str();
  command
      .add_option("--kv-memory-mib", options.kv_memory_mib,
                  "memory for KV pages, MiB; 0: what the device can spare")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 24))
      ->capture_default_str();
  command.add_flag("--json", options.json, "one JSON object");
}

absl::Status RunStepBench(const StepBenchOptions& options, std::ostream& out) {
  ASSIGN_OR_RETURN(const std::unique_ptr<StepBench> bench, StepBench::Create(options));
  nlohmann::json results = nlohmann::json::array();
  if (!options.json) {
    out << absl::StreamFormat(
        "%s, %s, %.1f GB of weights\n%8s %9s %12s %12s %10s%s\n", bench->device(), options.shape,
        static_cast<double>(bench->weight_bytes()) / 1e9, "batch", "context", "us / step",
        "tokens / s", "TB/s", bench->has_clock() ? " idle %" : "");
  }
  for (const int64_t context : options.contexts) {
    for (const int64_t batch : options.batches) {
      const absl::StatusOr<Measured> measured = bench->Run(batch, context);
      if (absl::IsResourceExhausted(measured.status())) {
        results.push_back({{"batch", batch}, {"context", context}, {"error", "does not fit"}});
      } else {
        RETURN_IF_ERROR(measured.status());
        results.push_back(Row(*measured, bench->weight_bytes()));
      }
      if (!options.json) PrintStep(results.back(), out);
    }
  }
  if (options.json) {
    out << nlohmann::json{{"device", bench->device()},
                          {"shape", options.shape},
                          {"weight_bytes", bench->weight_bytes()},
                          {"steps", std::move(results)}}
        << "\n";
  }
  return absl::OkStatus();
}

}  // namespace headgate
