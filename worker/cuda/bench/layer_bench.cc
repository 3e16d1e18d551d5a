#include "worker/cuda/bench/layer_bench.h"

#include <cuda_bf16.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "worker/cuda/attention/decode_attention.h"
#include "worker/cuda/attention/layer_call.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/bench/graph_timer.h"
#include "worker/cuda/bench/llama3_shape.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/matmul/matmul.h"
#include "worker/cuda/pages/device_page_store.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

using namespace llama3;  // kHidden, kInner, kHeads, ...
constexpr int64_t kPageTokens = 16;
constexpr int kReplays = 41;

// Elements of a layer's matrices, one after the other.
constexpr int64_t kQkvAt = 0;
constexpr int64_t kOutputAt = kQkvAt + kQkv * kHidden;
constexpr int64_t kGateUpAt = kOutputAt + kHidden * kHeads * kHeadDim;
constexpr int64_t kDownAt = kGateUpAt + 2 * kInner * kHidden;
constexpr int64_t kLayerSize = kDownAt + kHidden * kInner;

class Bench final : public LayerBench {
 public:
  Bench(int64_t rows, int64_t context, int64_t layers)
      : rows_(rows),
        context_(context),
        layers_(layers),
        layout_(MakeKvLayout(kPageTokens, kHeadDim, DType::kBF16,
                             std::vector<std::vector<RowSpec>>(
                                 static_cast<size_t>(layers),
                                 std::vector<RowSpec>(static_cast<size_t>(kKvHeads))))) {}

  absl::Status Allocate() {
    const auto device = [](int64_t bytes) {
      return CudaBuffer::Create(MemoryPlace::kDevice, bytes);
    };
    ASSIGN_OR_RETURN(weights_, device(layers_ * kLayerSize * 2));
    ASSIGN_OR_RETURN(norm_, device(kHidden * 4));
    ASSIGN_OR_RETURN(residual_, device(rows_ * kHidden * 4));
    ASSIGN_OR_RETURN(normed_, device(rows_ * kHidden * 2));
    ASSIGN_OR_RETURN(delta_, device(rows_ * kHidden * 2));
    ASSIGN_OR_RETURN(qkv_, device(rows_ * kQkv * 2));
    ASSIGN_OR_RETURN(attended_, device(rows_ * kHidden * 2));
    ASSIGN_OR_RETURN(gate_up_, device(rows_ * 2 * kInner * 2));
    ASSIGN_OR_RETURN(hidden_, device(rows_ * kInner * 2));
    ASSIGN_OR_RETURN(products_, MatrixProducts::Create());
    LaunchFillBf16(weights_.data(), weights_.bytes(), 1, nullptr);
    const std::vector<float> ones(static_cast<size_t>(rows_ * kHidden), 1.0f);
    for (const CudaBuffer* to : {&norm_, &residual_}) {
      RETURN_IF_ERROR(
          CudaStatus(cudaMemcpy(to->data(), ones.data(), static_cast<size_t>(to->bytes()),
                                cudaMemcpyHostToDevice),
                     "filling memory"));
    }
    LaunchFillBf16(delta_.data(), delta_.bytes(), 2, nullptr);
    std::vector<float> inv_freq;
    for (int64_t i = 0; i < kHeadDim / 2; ++i) {
      inv_freq.push_back(std::pow(5e5f, -2.0f * static_cast<float>(i) / float{kHeadDim}));
    }
    RETURN_IF_ERROR(Upload(inv_freq, inv_freq_));
    return CreatePages();
  }

  absl::StatusOr<double> LayerUs(const LayerWays& ways) override {
    decode_->Plan(store_->tables(), step_, kHeads / kKvHeads, nullptr,
                  ways.rotate_in_attention ? inv_freq_.as<const float>() : nullptr);
    decode_->Launch(AttentionOf(0, ways), 0, nullptr);  // the first one after a plan is no other's
    RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "planning"));
    ASSIGN_OR_RETURN(const double us, MedianReplayUs(
                                          [&](cudaStream_t stream) {
                                            for (int64_t l = 0; l < layers_; ++l) {
                                              RunLayer(l, ways, stream);
                                            }
                                          },
                                          kReplays));
    return us / static_cast<double>(layers_);
  }

 private:
  template <typename T>
  static absl::Status Upload(const std::vector<T>& values, CudaBuffer& to) {
    const size_t bytes = values.size() * sizeof(T);
    ASSIGN_OR_RETURN(to, CudaBuffer::Create(MemoryPlace::kDevice, static_cast<int64_t>(bytes)));
    return CudaStatus(cudaMemcpy(to.data(), values.data(), bytes, cudaMemcpyHostToDevice),
                      "uploading");
  }

  absl::Status CreatePages() {
    const int64_t pages = rows_ * static_cast<int64_t>(layout_.rows.size()) *
                          ((context_ + 1 + kPageTokens - 1) / kPageTokens + 1);
    ASSIGN_OR_RETURN(pages_,
                     CudaBuffer::Create(MemoryPlace::kDevice, pages * layout_.page_bytes()));
    LaunchFillBf16(pages_.data(), pages_.bytes(), 1, nullptr, FillSize::kUpToTwo);
    ASSIGN_OR_RETURN(UploadRing uploads, UploadRing::Create(1 << 20, nullptr));
    uploads_ = std::make_unique<UploadRing>(std::move(uploads));
    ASSIGN_OR_RETURN(store_, DevicePageStore::Create(layout_, static_cast<uint32_t>(pages),
                                                     context_ + 1, *uploads_, nullptr));
    std::vector<PageId> ids(static_cast<size_t>(pages));
    std::iota(ids.begin(), ids.end(), PageId{0});
    std::shuffle(ids.begin(), ids.end(), std::mt19937_64(7));
    RETURN_IF_ERROR(CudaStatus(cudaMemcpy(store_->tables().free_pages, ids.data(),
                                          ids.size() * sizeof(PageId), cudaMemcpyHostToDevice),
                               "uploading the pages' order"));
    std::vector<Chunk> chunks;
    std::vector<StepSequence> sequences;
    std::vector<int32_t> positions, sequence_of;
    for (int64_t i = 0; i < rows_; ++i) {
      const auto id = static_cast<SequenceId>(i);
      RETURN_IF_ERROR(store_->AddSequence(id));
      chunks.push_back({id, 0, std::vector<TokenId>(static_cast<size_t>(context_ + 1)), false, {}});
      sequences.push_back(
          {store_->Place(id), static_cast<int32_t>(context_), static_cast<int32_t>(i), 1});
      positions.push_back(static_cast<int32_t>(context_));
      sequence_of.push_back(static_cast<int32_t>(i));
    }
    RETURN_IF_ERROR(store_->BeginStep(chunks));
    store_->Commit();
    RETURN_IF_ERROR(Upload(sequences, sequences_));
    RETURN_IF_ERROR(Upload(positions, positions_));
    RETURN_IF_ERROR(Upload(sequence_of, sequence_of_));
    step_.sequences = sequences_.as<const StepSequence>();
    step_.positions = positions_.as<const int32_t>();
    step_.sequence_of = sequence_of_.as<const int32_t>();
    step_.rows = step_.sequence_count = static_cast<int32_t>(rows_);
    ASSIGN_OR_RETURN(decode_, DecodeAttention::Create(layout_, rows_, nullptr));
    return CudaStatus(cudaDeviceSynchronize(), "filling pages");
  }

  const bf16* Weights(int64_t layer, int64_t at) const {
    return weights_.as<const bf16>() + layer * kLayerSize + at;
  }

  AttentionCall AttentionOf(int64_t layer, const LayerWays& ways) const {
    AttentionCall call =
        LayerCall(layout_, store_->tables(), pages_.data(), step_, layer, kHeads / kKvHeads);
    call.qkv = qkv_.as<const bf16>();
    call.out = attended_.as<bf16>();
    if (ways.rotate_in_attention) call.inv_freq = inv_freq_.as<const float>();
    return call;
  }

  MatMulCall Product(int64_t layer, int64_t at, const bf16* x, int64_t n, int64_t k,
                     void* out) const {
    MatMulCall call;
    call.x = x;
    call.w = Weights(layer, at);
    call.out = out;
    call.m = rows_;
    call.n = n;
    call.k = k;
    return call;
  }

  void AddNorm(cudaStream_t stream) const {
    LaunchRmsNorm(residual_.as<float>(), delta_.as<const bf16>(), norm_.as<const float>(), kEps,
                  rows_, kHidden, normed_.as<bf16>(), stream);
  }

  void RunLayer(int64_t l, const LayerWays& ways, cudaStream_t stream) const {
    if (!ways.products) {
      decode_->Launch(AttentionOf(l, ways), l, stream);
      return;
    }
    AddNorm(stream);
    products_->Run(Product(l, kQkvAt, normed_.as<const bf16>(), kQkv, kHidden, qkv_.data()),
                   stream);
    if (!ways.rotate_in_attention) {
      LaunchRope(step_, qkv_.as<bf16>(), kQkv, kHeads + kKvHeads, kHeadDim,
                 inv_freq_.as<const float>(), stream);
    }
    if (ways.attention) decode_->Launch(AttentionOf(l, ways), l, stream);
    products_->Run(
        Product(l, kOutputAt, attended_.as<const bf16>(), kHidden, kHidden, delta_.data()), stream);

    AddNorm(stream);
    MatMulCall gate_up =
        Product(l, kGateUpAt, normed_.as<const bf16>(), 2 * kInner, kHidden, gate_up_.data());
    if (ways.gate_in_product) {
      gate_up.gated = true;
      gate_up.out = hidden_.data();
      gate_up.scratch = gate_up_.as<bf16>();
    }
    products_->Run(gate_up, stream);
    if (!ways.gate_in_product) {
      LaunchSiluMul(gate_up_.as<const bf16>(), rows_, kInner, hidden_.as<bf16>(), stream);
    }
    products_->Run(Product(l, kDownAt, hidden_.as<const bf16>(), kHidden, kInner, delta_.data()),
                   stream);
  }

  const int64_t rows_;
  const int64_t context_;
  const int64_t layers_;
  const KvLayout layout_;
  CudaBuffer weights_, norm_, residual_, normed_, delta_, qkv_, attended_, gate_up_, hidden_;
  CudaBuffer inv_freq_, pages_, sequences_, positions_, sequence_of_;
  std::unique_ptr<MatrixProducts> products_;
  std::unique_ptr<UploadRing> uploads_;
  std::unique_ptr<DevicePageStore> store_;
  std::unique_ptr<DecodeAttention> decode_;
  StepView step_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<LayerBench>> LayerBench::Create(int64_t rows, int64_t context,
                                                               int64_t layers) {
  auto bench = std::make_unique<Bench>(rows, context, layers);
  RETURN_IF_ERROR(bench->Allocate());
  // An idle GPU takes some 50 ms to reach its clocks.
  for (int i = 0; i < 4; ++i) RETURN_IF_ERROR(bench->LayerUs({}).status());
  return bench;
}

}  // namespace headgate
