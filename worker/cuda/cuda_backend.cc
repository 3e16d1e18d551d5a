// The operations of worker/backend.h on one stream. Arithmetic is in kernels and cuBLASLt.
#include "worker/cuda/cuda_backend.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <deque>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/attention/paged_attention.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/device/event_clock.h"
#include "worker/cuda/device/upload_ring.h"
#include "worker/cuda/group/rank_group.h"
#include "worker/cuda/matmul/matmul.h"
#include "worker/cuda/pages/device_page_store.h"
#include "worker/cuda/rows/row_ops.h"
#include "worker/cuda/sampling/device_sampler.h"
#include "worker/cuda/step_graphs.h"
#include "worker/cuda/step_rows.h"
#include "worker/cuda/weights/device_matrix.h"
#include "worker/cuda/weights/weight_uploader.h"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

// Beside pages whose number nobody chose: their tables, the sampler, and the spare bytes.
constexpr int64_t kBesidePagesBytes = int64_t{4} << 30;
// What the driver and the libraries take later: code of kernels, graphs, NCCL's buffers.
constexpr int64_t kSpareBytes = int64_t{1} << 30;

int64_t FreeBytes() {
  size_t free = 0, total = 0;
  CudaCheck(cudaMemGetInfo(&free, &total), "asking for free memory");
  return static_cast<int64_t>(free);
}

bf16* Operand(Tensor tensor) {
  CHECK(tensor.dtype == DType::kBF16) << "an operand tensor is needed";
  return static_cast<bf16*>(tensor.data);
}

float* Sums(Tensor tensor) {
  CHECK(tensor.dtype == DType::kF32) << "an fp32 tensor is needed";
  return tensor.f32();
}

class CudaBackend final : public Backend {
 public:
  static absl::StatusOr<std::unique_ptr<Backend>> Create(const CudaBackendOptions& options);
  ~CudaBackend() override;

  std::string Describe() const override { return description_; }
  StepClock* step_clock() override { return clock_.get(); }
  std::vector<QueueStats> Queues() const override {
    return {graphs_.Stats(), products_->Stats(), uploads_.Stats("page_upload_bytes"),
            step_uploads_.Stats("step_upload_bytes")};
  }
  absl::StatusOr<Tensor> Allocate(int64_t rows, int64_t cols, TensorUse use) override;
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const RowSource& rows,
                                                     WeightFormat format) override;
  absl::StatusOr<std::span<const float>> Upload(std::span<const float> values) override;
  absl::Status PrepareMatMul(Tensor x, const PackedMatrix& w, Tensor out) override;
  int64_t LogitRowsMax() const override { return 512; }
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
  CudaBackend(std::string description, cudaStream_t stream, std::unique_ptr<EventClock> clock,
              UploadRing uploads, UploadRing step_uploads, std::unique_ptr<MatrixProducts> products)
      : description_(std::move(description)),
        stream_(stream),
        clock_(std::move(clock)),
        uploads_(std::move(uploads)),
        step_uploads_(std::move(step_uploads)),
        products_(std::move(products)),
        graphs_(stream) {}

  static MatMulCall CallOf(Tensor x, const PackedMatrix& w, std::span<const float> bias,
                           Tensor out);

  const std::string description_;
  const cudaStream_t stream_;
  const std::unique_ptr<EventClock> clock_;
  UploadRing uploads_;       // of the page store
  UploadRing step_uploads_;  // of BeginStep: always to the same place
  const std::unique_ptr<MatrixProducts> products_;
  StepGraphs graphs_;                         // of steps that decode only
  CudaBuffer inbox_;                          // of the groups, one after the other
  std::unique_ptr<RankGroup> group_;          // null: no peers
  std::deque<CudaBuffer> owned_;              // of Allocate and Upload
  std::unique_ptr<WeightUploader> uploader_;  // of Pack; null before and after loading
  DevicePageStore* store_ = nullptr;
  std::unique_ptr<PagedAttention> attention_;  // null before CreatePages
  StepView step_;
};

absl::StatusOr<std::unique_ptr<Backend>> CudaBackend::Create(const CudaBackendOptions& options) {
  RETURN_IF_ERROR(
      CudaStatus(cudaSetDevice(options.device), absl::StrCat("using GPU ", options.device)));
  cudaDeviceProp properties;
  RETURN_IF_ERROR(CudaStatus(cudaGetDeviceProperties(&properties, options.device),
                             "reading the GPU's properties"));
  if (properties.major < 8) {
    return absl::UnavailableError(absl::StrCat("cuda: ", properties.name,
                                               " has compute capability ", properties.major, ".",
                                               properties.minor, "; 8.0 or higher is needed"));
  }
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(
      CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream"));
  // A step's tokens, positions and sequences, and what its alignment costs.
  constexpr int64_t kRowBytes = 4 * sizeof(int32_t) + sizeof(StepSequence);
  const int64_t bytes_max = kRowBytes * std::max<int64_t>(options.step_tokens_max, 4096) + 1024;
  ASSIGN_OR_RETURN(std::unique_ptr<EventClock> clock, EventClock::Create(stream));
  ASSIGN_OR_RETURN(UploadRing uploads, UploadRing::Create(bytes_max, stream));
  ASSIGN_OR_RETURN(UploadRing step_uploads, UploadRing::Create(bytes_max, stream, 1));
  ASSIGN_OR_RETURN(std::unique_ptr<MatrixProducts> products, MatrixProducts::Create());
  std::string description =
      absl::StrCat("cuda, ", properties.name, ", ", properties.totalGlobalMem >> 20, " MiB");
  return std::unique_ptr<Backend>(new CudaBackend(std::move(description), stream, std::move(clock),
                                                  std::move(uploads), std::move(step_uploads),
                                                  std::move(products)));
}

CudaBackend::~CudaBackend() {
  graphs_.Clear();  // they hold the group's sums
  group_.reset();
  cudaStreamSynchronize(stream_);
  cudaStreamDestroy(stream_);
}

absl::StatusOr<Tensor> CudaBackend::Allocate(int64_t rows, int64_t cols, TensorUse use) {
  constexpr int64_t kLargest = int64_t{1} << 31;
  if (!(rows >= 0 && rows <= kLargest) || !(cols >= 0 && cols <= kLargest / 4)) {
    return absl::InvalidArgumentError(
        absl::StrCat("cuda: cannot allocate activations of ", rows, " x ", cols));
  }
  const DType dtype = use == TensorUse::kSum ? DType::kF32 : DType::kBF16;
  ASSIGN_OR_RETURN(CudaBuffer buffer,
                   CudaBuffer::Create(MemoryPlace::kDevice, rows * cols * DTypeBytes(dtype)));
  owned_.push_back(std::move(buffer));
  return Tensor{owned_.back().data(), dtype, rows, cols};
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> CudaBackend::Pack(const RowSource& rows,
                                                                WeightFormat format) {
  if (format != WeightFormat::kAsStored && format != WeightFormat::kBF16) {
    return absl::InvalidArgumentError(
        "cuda: weights are bf16 on this device; give --weights=bf16 or as-stored");
  }
  if (uploader_ == nullptr) {
    int device = 0;
    RETURN_IF_ERROR(CudaStatus(cudaGetDevice(&device), "asking for the GPU in use"));
    ASSIGN_OR_RETURN(uploader_, WeightUploader::Create(device));
  }
  ASSIGN_OR_RETURN(std::unique_ptr<DeviceMatrix> packed, DeviceMatrix::Create(rows, *uploader_));
  return packed;
}

absl::StatusOr<std::span<const float>> CudaBackend::Upload(std::span<const float> values) {
  ASSIGN_OR_RETURN(
      CudaBuffer buffer,
      CudaBuffer::Create(MemoryPlace::kDevice, static_cast<int64_t>(values.size_bytes())));
  RETURN_IF_ERROR(CudaStatus(cudaMemcpyAsync(buffer.data(), values.data(), values.size_bytes(),
                                             cudaMemcpyHostToDevice, stream_),
                             "uploading a vector"));
  RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream_), "uploading a vector"));
  owned_.push_back(std::move(buffer));
  return std::span<const float>(owned_.back().as<const float>(), values.size());
}

// Ranks have a GPU each.
int64_t CudaBackend::PageMemoryBytes(int) const {
  const int64_t free = FreeBytes();
  return free - std::min(kBesidePagesBytes, free / 4);
}

absl::StatusOr<std::unique_ptr<PageStore>> CudaBackend::CreatePages(const KvLayout& layout,
                                                                    uint32_t pages,
                                                                    int64_t positions_max) {
  uploader_.reset();  // weights are loaded
  graphs_.Clear();    // they hold the pages
  attention_.reset();
  store_ = nullptr;
  ASSIGN_OR_RETURN(std::unique_ptr<DevicePageStore> store,
                   DevicePageStore::Create(layout, pages, positions_max, uploads_, stream_));
  ASSIGN_OR_RETURN(attention_, PagedAttention::Create(*store, stream_));
  store_ = store.get();
  return store;
}

absl::StatusOr<std::unique_ptr<TokenSampler>> CudaBackend::CreateSampler(
    const SamplerShape& shape) {
  ASSIGN_OR_RETURN(std::unique_ptr<DeviceSampler> sampler,
                   DeviceSampler::Create(shape, *store_, group_, stream_, clock_.get()));
  if (const int64_t free = FreeBytes(); free < kSpareBytes) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cuda: ", attention_->page_bytes() >> 20, " MiB of pages leave ", free >> 20,
                     " MiB of the GPU's memory free; ", kSpareBytes >> 20, " are needed"));
  }
  step_.last_tokens = sampler->last_tokens();
  return sampler;
}

absl::Status CudaBackend::Connect(Collective* peers) {
  graphs_.Clear();  // they hold the group's sums
  group_.reset();
  if (peers == nullptr || peers->size() == 1) return absl::OkStatus();
  ASSIGN_OR_RETURN(group_, RankGroup::Meet(*peers, stream_, inbox_));
  return absl::OkStatus();
}

int64_t CudaBackend::BeginStep(const Batch& batch, int64_t rows_max) {
  const bool replays = attention_ != nullptr && batch.decodes_only();
  const int64_t rows = replays ? std::min(RoundedRows(batch.rows()), rows_max) : batch.rows();
  const StepRows step = MakeStepRows(batch, rows, [this](SequenceId sequence) {
    return store_ == nullptr ? 0 : store_->Place(sequence);
  });
  step_uploads_.Begin();
  step_.tokens = step_uploads_.Add(std::span<const TokenId>(step.tokens));
  step_.positions = step_uploads_.Add(std::span<const int32_t>(step.positions));
  step_.sequence_of = step_uploads_.Add(std::span<const int32_t>(step.sequence_of));
  step_.sequences = step_uploads_.Add(std::span<const StepSequence>(step.sequences));
  step_.outputs = step_uploads_.Add(std::span<const int32_t>(batch.outputs));
  step_.rows = static_cast<int32_t>(std::max(step.tokens.size(), step.positions.size()));
  step_.sequence_count = static_cast<int32_t>(step.sequences.size());
  step_.output_count = static_cast<int32_t>(batch.outputs.size());
  step_uploads_.Send();
  if (attention_ != nullptr) attention_->BeginStep(step.sequences, step_);
  return step_.rows;
}

absl::Status CudaBackend::Run(absl::FunctionRef<absl::Status()> operations) {
  if (attention_ == nullptr || !attention_->decodes_only()) return operations();
  return graphs_.Run(step_.rows, [&] {
    attention_->ForgetPlan();  // a recording that failed has launched nothing
    return operations();
  });
}

void CudaBackend::Embed(const PackedMatrix& table, Tensor out) {
  const auto& matrix = static_cast<const DeviceMatrix&>(table);  // made by Pack
  CHECK(out.cols == matrix.inputs() && out.rows == step_.rows) << "Embed shapes";
  LaunchEmbed(step_, matrix.data(), matrix.outputs(), matrix.inputs(), Sums(out), stream_);
  CudaCheck(cudaGetLastError(), "Embed");
}

void CudaBackend::RmsNorm(Tensor x, std::span<const float> weight, float eps, Tensor out) {
  CHECK(x.cols == out.cols && x.rows == out.rows && static_cast<int64_t>(weight.size()) == x.cols)
      << "RmsNorm shapes";
  LaunchRmsNorm(Sums(x), nullptr, weight.data(), eps, x.rows, x.cols, Operand(out), stream_);
  CudaCheck(cudaGetLastError(), "RmsNorm");
}

absl::Status CudaBackend::SumAddRmsNorm(Tensor residual, Tensor delta,
                                        std::span<const float> weight, float eps, Tensor out) {
  const int64_t cols = residual.cols;
  CHECK(delta.cols == cols && out.cols == cols && delta.rows == residual.rows &&
        out.rows == residual.rows && static_cast<int64_t>(weight.size()) == cols)
      << "SumAddRmsNorm shapes";
  if (group_ != nullptr) return group_->SumAddRmsNorm(residual, delta, weight, eps, out);
  LaunchRmsNorm(Sums(residual), Operand(delta), weight.data(), eps, residual.rows, cols,
                Operand(out), stream_);
  CudaCheck(cudaGetLastError(), "SumAddRmsNorm");
  return absl::OkStatus();
}

absl::Status CudaBackend::SumAdd(Tensor residual, Tensor delta) {
  CHECK(residual.cols == delta.cols && residual.rows == delta.rows) << "SumAdd shapes";
  if (group_ != nullptr) return group_->SumAdd(residual, delta);
  LaunchAdd(Sums(residual), Operand(delta), residual.rows, residual.cols, stream_);
  CudaCheck(cudaGetLastError(), "SumAdd");
  return absl::OkStatus();
}

MatMulCall CudaBackend::CallOf(Tensor x, const PackedMatrix& w, std::span<const float> bias,
                               Tensor out) {
  const auto& matrix = static_cast<const DeviceMatrix&>(w);  // made by Pack
  CHECK(x.cols == matrix.inputs() && out.cols == matrix.outputs() && out.rows == x.rows &&
        (bias.empty() || static_cast<int64_t>(bias.size()) == matrix.outputs()))
      << "product shapes";
  MatMulCall call;
  call.x = Operand(x);
  call.w = matrix.data();
  call.bias = bias.empty() ? nullptr : bias.data();
  call.m = x.rows;
  call.n = matrix.outputs();
  call.k = matrix.inputs();
  call.out = out.data;
  call.out_dtype = out.dtype;
  return call;
}

absl::Status CudaBackend::PrepareMatMul(Tensor x, const PackedMatrix& w, Tensor out) {
  // Zeros cost a GPU less than other numbers.
  constexpr int kByte = 0x3c;  // twice: 0.011 in bf16
  RETURN_IF_ERROR(CudaStatus(
      cudaMemsetAsync(x.data, kByte, static_cast<size_t>(x.rows * x.cols * DTypeBytes(x.dtype)),
                      stream_),
      "filling activations"));
  return products_->Prepare(CallOf(x, w, {}, out), stream_);
}

void CudaBackend::MatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor out) {
  products_->Run(CallOf(x, w, bias, out), stream_);
}

void CudaBackend::GatedMatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias,
                              Tensor gate_up, Tensor out) {
  MatMulCall call = CallOf(x, w, bias, gate_up);
  CHECK(2 * out.cols == call.n && out.rows == call.m) << "GatedMatMul shapes";
  call.out = Operand(out);
  call.gated = true;
  call.scratch = Operand(gate_up);
  products_->Run(call, stream_);
}

void CudaBackend::HeadNorm(Tensor x, int64_t begin, int64_t heads, std::span<const float> weight,
                           float eps) {
  const int64_t dim = static_cast<int64_t>(weight.size());
  CHECK(begin >= 0 && heads >= 0 && begin + heads * dim <= x.cols) << "HeadNorm shapes";
  LaunchHeadNorm(Operand(x) + begin, x.cols, x.rows, heads, dim, weight.data(), eps, stream_);
  CudaCheck(cudaGetLastError(), "HeadNorm");
}

void CudaBackend::AttendAndAppend(int64_t layer, Tensor qkv, std::span<const float> inv_freq,
                                  int64_t heads, Tensor out) {
  attention_->Run(layer, qkv, inv_freq, heads, out);
}

void CudaBackend::GatherOutputs(Tensor x, int64_t begin, Tensor out) {
  CHECK(x.cols == out.cols && x.dtype == out.dtype && begin >= 0 &&
        begin + out.rows <= step_.output_count)
      << "GatherOutputs shapes";
  LaunchGatherRows(x.data, x.dtype, step_.outputs + begin, out.rows, out.cols, out.data, stream_);
  CudaCheck(cudaGetLastError(), "GatherOutputs");
}

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> MakeCudaBackend(const CudaBackendOptions& options) {
  return CudaBackend::Create(options);
}

}  // namespace headgate
