// The operations of worker/backend.h: shapes, work sharing and buffers. Arithmetic is in kernels.
#include "worker/cpu/cpu_backend.h"

#include <algorithm>
#include <deque>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "kvstore/host_page_store.h"
#include "worker/cpu/aligned_buffer.h"
#include "worker/cpu/attention.h"
#include "worker/cpu/free_memory.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/packed_panels.h"
#include "worker/cpu/rope_table.h"
#include "worker/cpu/row_preparation.h"
#include "worker/cpu/thread_pool.h"
#include "worker/cpu/weight_memory.h"
#include "worker/sampling/host_sampler.h"

namespace headgate {
namespace {

class CpuBackend final : public Backend {
 public:
  CpuBackend(int threads, IsaLevel level);

  std::string Describe() const override;
  StepClock* step_clock() override { return nullptr; }
  std::vector<QueueStats> Queues() const override { return {}; }
  absl::StatusOr<Tensor> Allocate(int64_t rows, int64_t cols, TensorUse use) override;
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const RowSource& rows,
                                                     WeightFormat format) override;
  absl::StatusOr<std::span<const float>> Upload(std::span<const float> values) override;
  absl::Status PrepareMatMul(Tensor, const PackedMatrix&, Tensor) override {
    return absl::OkStatus();  // the instruction set decides
  }
  int64_t LogitRowsMax() const override { return 128; }
  int64_t PageMemoryBytes(int ranks) const override;
  absl::StatusOr<std::unique_ptr<PageStore>> CreatePages(const KvLayout& layout, uint32_t pages,
                                                         int64_t positions_max) override;
  absl::StatusOr<std::unique_ptr<TokenSampler>> CreateSampler(const SamplerShape& shape) override;

  absl::Status Connect(Collective* peers) override;

  int64_t BeginStep(const Batch& batch, int64_t rows_max) override;
  absl::Status Run(absl::FunctionRef<absl::Status()> operations) override;
  void Embed(const PackedMatrix& table, Tensor out) override;
  void RmsNorm(Tensor x, std::span<const float> weight, float eps, Tensor out) override;
  absl::Status SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                             float eps, Tensor out) override;
  absl::Status SumAdd(Tensor residual, Tensor delta) override;
  void MatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor out) override;
  void GatedMatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor gate_up,
                   Tensor out) override;
  void HeadNorm(Tensor x, int64_t begin, int64_t heads, std::span<const float> weight,
                float eps) override;
  void AttendAndAppend(int64_t layer, Tensor qkv, std::span<const float> inv_freq, int64_t heads,
                       Tensor out) override;
  void GatherOutputs(Tensor x, int64_t begin, Tensor out) override;

 private:
  // Calls body(row) for every row; several threads when there is enough to do.
  void ForRows(int64_t rows, int64_t cols, absl::FunctionRef<void(int64_t row)> body);
  absl::Status SumOverRanks(Tensor values);
  void Rotate(Tensor x, int64_t heads, std::span<const float> inv_freq);

  const IsaLevel level_;
  const KernelTable kernels_;
  ThreadPool pool_;
  Attention attention_;
  RopeTable rope_;
  RowPreparation preparation_;
  WeightMemory weight_memory_;
  std::vector<AlignedBuffer> matmul_scratch_;  // one per thread
  std::deque<AlignedBuffer> owned_;            // of Allocate and Upload

  Collective* peers_ = nullptr;  // of a group of several ranks
  HostSampler* sampler_ = nullptr;
  const Batch* batch_ = nullptr;          // of the step
  const HostPageStore* store_ = nullptr;  // of the pages
};

CpuBackend::CpuBackend(int threads, IsaLevel level)
    : level_(level),
      kernels_(KernelsFor(level)),
      pool_(threads),
      attention_(kernels_, pool_),
      preparation_(kernels_, pool_, level == IsaLevel::kAmx) {
  for (int i = 0; i < threads; ++i) {
    absl::StatusOr<AlignedBuffer> scratch = AlignedBuffer::Create(kMatMulScratchBytes);
    CHECK(scratch.ok()) << scratch.status().ToString();
    matmul_scratch_.push_back(*std::move(scratch));
  }
}

std::string CpuBackend::Describe() const {
  return absl::StrCat("cpu, ", std::string(IsaName(level_)), ", ", pool_.threads(), " thread",
                      pool_.threads() == 1 ? "" : "s");
}

absl::StatusOr<Tensor> CpuBackend::Allocate(int64_t rows, int64_t cols, TensorUse) {
  constexpr int64_t kLargest = int64_t{1} << 31;
  if (!(rows >= 0 && rows <= kLargest) || !(cols >= 0 && cols <= kLargest / 4)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cpu: cannot allocate activations of ", rows, " x ", cols));
  }
  ASSIGN_OR_RETURN(AlignedBuffer buffer, AlignedBuffer::Create(rows * cols * 4));
  owned_.push_back(std::move(buffer));
  return Tensor{owned_.back().data(), DType::kF32, rows, cols};
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CpuBackend::Pack(const RowSource& rows,
                                                               WeightFormat format) {
  const int64_t bytes = rows.rows() * rows.row_bytes();
  ASSIGN_OR_RETURN(const AlignedBuffer whole, AlignedBuffer::Create(bytes));
  RETURN_IF_ERROR(rows.Read(0, rows.rows(), {whole.data(), static_cast<size_t>(bytes)}));
  const HostMatrix matrix{whole.data(), rows.dtype(), rows.rows(), rows.cols(), rows.cols()};
  ASSIGN_OR_RETURN(std::unique_ptr<PackedPanels> packed,
                   PackedPanels::Create(matrix, format, pool_, weight_memory_));
  return packed;
}

absl::StatusOr<std::span<const float>> CpuBackend::Upload(std::span<const float> values) {
  ASSIGN_OR_RETURN(AlignedBuffer buffer,
                   AlignedBuffer::Create(static_cast<int64_t>(values.size_bytes())));
  owned_.push_back(std::move(buffer));
  float* data = owned_.back().as<float>();
  std::copy(values.begin(), values.end(), data);
  return std::span<const float>(data, values.size());
}

int64_t CpuBackend::PageMemoryBytes(int ranks) const {
  constexpr int64_t kFreeMemoryShare = 4;  // a quarter: the machine is shared with other programs
  constexpr int64_t kFallbackBytes = int64_t{256} << 20;  // where the machine does not say
  return FreeMemoryBytes().value_or(kFallbackBytes) / kFreeMemoryShare / ranks;
}

absl::StatusOr<std::unique_ptr<PageStore>> CpuBackend::CreatePages(const KvLayout& layout,
                                                                   uint32_t pages, int64_t) {
  RETURN_IF_ERROR(attention_.CreatePages(layout, pages));
  ASSIGN_OR_RETURN(std::unique_ptr<HostPageStore> store, HostPageStore::Create(layout, pages));
  store_ = store.get();
  return store;
}

absl::StatusOr<std::unique_ptr<TokenSampler>> CpuBackend::CreateSampler(const SamplerShape& shape) {
  auto sampler = std::make_unique<HostSampler>(shape);
  sampler_ = sampler.get();
  return sampler;
}

absl::Status CpuBackend::Connect(Collective* peers) {
  peers_ = peers != nullptr && peers->size() > 1 ? peers : nullptr;
  if (sampler_ != nullptr) sampler_->Connect(peers_);
  return absl::OkStatus();
}

absl::Status CpuBackend::SumOverRanks(Tensor values) {
  if (peers_ == nullptr) return absl::OkStatus();
  return peers_->AllReduceSum({values.f32(), static_cast<size_t>(values.rows * values.cols)});
}

absl::Status CpuBackend::Run(absl::FunctionRef<absl::Status()> operations) { return operations(); }

int64_t CpuBackend::BeginStep(const Batch& batch, int64_t) {
  batch_ = &batch;
  return batch.rows();
}

void CpuBackend::ForRows(int64_t rows, int64_t cols, absl::FunctionRef<void(int64_t)> body) {
  constexpr int64_t kItemValues = 8192;  // worth waking a thread for
  const int64_t step = std::max<int64_t>(1, kItemValues / std::max<int64_t>(1, cols));
  pool_.Run((rows + step - 1) / step, [&](int64_t item, int) {
    for (int64_t r = item * step; r < std::min(rows, (item + 1) * step); ++r) body(r);
  });
}

void CpuBackend::Embed(const PackedMatrix& table, Tensor out) {
  const std::vector<TokenId>& tokens = batch_->tokens;
  const auto& panels = static_cast<const PackedPanels&>(table);  // made by Pack
  CHECK_EQ(out.cols, panels.inputs()) << "Embed";
  CHECK_EQ(out.rows, static_cast<int64_t>(tokens.size())) << "Embed";
  ForRows(out.rows, out.cols * 8, [&](int64_t r) {
    const TokenId token = tokens[static_cast<size_t>(r)];
    CHECK(token >= 0 && token < panels.outputs()) << "Embed: token outside the vocabulary";
    panels.ReadRow(token, std::span(out.f32() + r * out.cols, static_cast<size_t>(out.cols)));
  });
}

void CpuBackend::RmsNorm(Tensor x, std::span<const float> weight, float eps, Tensor out) {
  CHECK(x.cols == out.cols && x.rows == out.rows && static_cast<int64_t>(weight.size()) == x.cols)
      << "RmsNorm shapes";
  ForRows(x.rows, x.cols, [&](int64_t r) {
    kernels_.rms_norm(x.f32() + r * x.cols, nullptr, weight.data(), eps, out.f32() + r * x.cols,
                      x.cols);
  });
}

absl::Status CpuBackend::SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                                       float eps, Tensor out) {
  const int64_t cols = residual.cols;
  CHECK(delta.cols == cols && out.cols == cols && delta.rows == residual.rows &&
        out.rows == residual.rows && static_cast<int64_t>(weight.size()) == cols)
      << "SumAddRmsNorm shapes";
  RETURN_IF_ERROR(SumOverRanks(delta));
  ForRows(residual.rows, cols, [&](int64_t r) {
    kernels_.rms_norm(residual.f32() + r * cols, delta.f32() + r * cols, weight.data(), eps,
                      out.f32() + r * cols, cols);
  });
  return absl::OkStatus();
}

absl::Status CpuBackend::SumAdd(Tensor residual, Tensor delta) {
  CHECK(residual.cols == delta.cols && residual.rows == delta.rows) << "SumAdd shapes";
  RETURN_IF_ERROR(SumOverRanks(delta));
  ForRows(residual.rows, residual.cols, [&](int64_t r) {
    kernels_.add(residual.f32() + r * residual.cols, delta.f32() + r * delta.cols, delta.cols);
  });
  return absl::OkStatus();
}

void CpuBackend::MatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor out) {
  const PanelView& weights = static_cast<const PackedPanels&>(w).view();  // made by Pack
  CHECK(x.cols == weights.inputs && out.cols == weights.outputs && x.rows == out.rows &&
        (bias.empty() || static_cast<int64_t>(bias.size()) == weights.outputs))
      << "MatMul shapes";
  if (x.rows == 0) return;
  MatMulCall call;
  call.rows = preparation_.Prepare(x, weights);
  call.weights = weights;
  call.bias = bias.empty() ? nullptr : bias.data();
  call.out = out.f32();
  call.ldo = out.cols;

  constexpr int64_t kItemProducts = 64 * 1024;  // worth waking a thread for
  const int64_t panels = weights.panels();
  const int64_t shares = panels / (pool_.threads() * 4);
  const int64_t least = kItemProducts / (kPanelOutputs * weights.inputs * x.rows);
  // 8 panels: the most that a kernel takes at once.
  const int64_t step = (std::max<int64_t>(std::max(shares, least), 1) + 7) / 8 * 8;
  pool_.Run((panels + step - 1) / step, [&](int64_t item, int thread) {
    kernels_.matmul(call, item * step, std::min(panels, (item + 1) * step),
                    matmul_scratch_[static_cast<size_t>(thread)].data());
  });
}

void CpuBackend::HeadNorm(Tensor x, int64_t begin, int64_t heads, std::span<const float> weight,
                          float eps) {
  const int64_t dim = static_cast<int64_t>(weight.size());
  CHECK(begin >= 0 && heads >= 0 && begin + heads * dim <= x.cols) << "HeadNorm shapes";
  ForRows(x.rows, heads * dim, [&](int64_t r) {
    for (int64_t h = 0; h < heads; ++h) {
      float* head = x.f32() + r * x.cols + begin + h * dim;
      kernels_.rms_norm(head, nullptr, weight.data(), eps, head, dim);
    }
  });
}

void CpuBackend::GatedMatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias,
                             Tensor gate_up, Tensor out) {
  CHECK(gate_up.cols == 2 * out.cols && gate_up.rows == out.rows) << "GatedMatMul shapes";
  MatMul(x, w, bias, gate_up);
  ForRows(out.rows, out.cols * 4, [&](int64_t r) {
    const float* gate = gate_up.f32() + r * gate_up.cols;
    kernels_.silu_mul(gate, gate + out.cols, out.f32() + r * out.cols, out.cols);
  });
}

// `heads` heads from the first column on.
void CpuBackend::Rotate(Tensor x, int64_t heads, std::span<const float> inv_freq) {
  const std::vector<int32_t>& positions = batch_->positions;
  const int64_t half = static_cast<int64_t>(inv_freq.size());
  CHECK(heads >= 0 && heads * half * 2 <= x.cols &&
        static_cast<int64_t>(positions.size()) == x.rows)
      << "rotation shapes";
  rope_.Fill(positions, inv_freq, pool_);
  ForRows(x.rows, heads * half * 2, [&](int64_t r) {
    for (int64_t h = 0; h < heads; ++h) {
      kernels_.rope(x.f32() + r * x.cols + h * half * 2, rope_.cosine(r), rope_.sine(r), half);
    }
  });
}

void CpuBackend::AttendAndAppend(int64_t layer, Tensor qkv, std::span<const float> inv_freq,
                                 int64_t heads, Tensor out) {
  // Queries and keys lie side by side.
  if (!inv_freq.empty()) Rotate(qkv, heads + store_->layout().kv_heads(layer), inv_freq);
  attention_.Run(layer, *batch_, *store_, qkv, heads, out);
}

void CpuBackend::GatherOutputs(Tensor x, int64_t begin, Tensor out) {
  const std::vector<int32_t>& rows = batch_->outputs;
  CHECK(x.cols == out.cols && begin >= 0 && begin + out.rows <= static_cast<int64_t>(rows.size()))
      << "GatherOutputs shapes";
  for (int64_t r = 0; r < out.rows; ++r) {
    const int64_t from = rows[static_cast<size_t>(begin + r)];
    CHECK(from >= 0 && from < x.rows) << "GatherOutputs: row " << from;
    std::copy_n(x.f32() + from * x.cols, x.cols, out.f32() + r * x.cols);
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const CpuBackendOptions& options) {
  if (!(options.threads >= 0 && options.threads <= 1024)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cpu: threads must be 0 (every core) to 1024, not ", options.threads));
  }
  const int cores = std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, 1024);
  const int threads = options.threads == 0 ? cores : options.threads;
  return std::unique_ptr<Backend>(
      std::make_unique<CpuBackend>(threads, DetectIsa(options.isa_max)));
}

}  // namespace headgate
