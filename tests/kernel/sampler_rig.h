// What the tests of sampling on a GPU share: the device's and the host's sampler side by side, rows
// of logits, and what a draw may be.
#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "tests/kernel/cuda_rig.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/sampling/device_sampler.h"
#include "worker/sampling/host_sampler.h"

namespace headgate {

inline constexpr int64_t kRowsMax = 130;
inline constexpr int64_t kUsesMax = 4096;
inline constexpr uint32_t kPlaces = 160;

// Both samplers over one vocabulary.
class SamplerRig {
 public:
  explicit SamplerRig(int64_t vocab) : vocab_(vocab) {
    CudaCheck(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "stream");
    uploads_ = std::make_unique<UploadRing>(UploadRing::Create(1 << 16, stream_).value());
    const KvLayout layout = MakeKvLayout(16, 8, DType::kBF16, {{RowSpec{}}});
    store_ = DevicePageStore::Create(layout, kPlaces, 4096, *uploads_, stream_).value();
    const SamplerShape shape{{vocab}, 0, kRowsMax, kUsesMax};
    device_ = DeviceSampler::Create(shape, *store_, no_group_, stream_, nullptr).value();
    host_ = std::make_unique<HostSampler>(shape);
    logits_ = CudaBuffer::Create(MemoryPlace::kDevice, kRowsMax * vocab * 4).value();
  }
  ~SamplerRig() {
    CudaCheck(cudaStreamSynchronize(stream_), "end");
    device_.reset();
    store_.reset();
    uploads_.reset();
    cudaStreamDestroy(stream_);
  }

  void Add(const SequenceStart& start) {
    ASSERT_TRUE(store_->AddSequence(start.sequence).ok());
    device_->Add(start);
    host_->Add(start);
  }
  void Add(SequenceId sequence, const SamplingParams& params) { Add({sequence, params, 0, 0}); }
  void Remove(SequenceId sequence) {
    ASSERT_TRUE(store_->Release(sequence).ok());
    device_->Remove(sequence);
    host_->Remove(sequence);
  }

  void Begin(const Batch& batch) {
    Batch one = batch, other = batch;
    device_->BeginStep(one);
    host_->BeginStep(other);
  }
  void Choose(std::vector<float>& logits, const std::vector<LogitUse>& uses) {
    ASSERT_EQ(static_cast<int64_t>(logits.size()), vocab_ * static_cast<int64_t>(uses.size()));
    const auto rows = static_cast<int64_t>(uses.size());
    CudaCheck(cudaMemcpyAsync(logits_.data(), logits.data(), logits.size() * 4,
                              cudaMemcpyHostToDevice, stream_),
              "logits");
    ASSERT_TRUE(device_->Choose({logits_.data(), DType::kF32, rows, vocab_}, uses).ok());
    ASSERT_TRUE(host_->Choose({logits.data(), DType::kF32, rows, vocab_}, uses).ok());
  }
  void End() {
    ASSERT_TRUE(device_->EndStep().ok());
    ASSERT_TRUE(host_->EndStep().ok());
  }
  std::vector<LogitOutcome> AwaitDevice() { return device_->Await().value(); }
  std::vector<LogitOutcome> AwaitHost() { return host_->Await().value(); }

  struct Both {
    std::vector<LogitOutcome> device, host;
  };
  // One step of one Choose.
  Both Run(std::vector<float>& logits, const std::vector<LogitUse>& uses, const Batch& batch = {}) {
    Begin(batch);
    Choose(logits, uses);
    End();
    return {AwaitDevice(), AwaitHost()};
  }

  TokenId LastToken(SequenceId sequence) {
    TokenId token = -2;
    CudaCheck(cudaStreamSynchronize(stream_), "tokens");
    CudaCheck(cudaMemcpy(&token, device_->last_tokens() + store_->Place(sequence), 4,
                         cudaMemcpyDeviceToHost),
              "tokens");
    return token;
  }
  DeviceSampler& device() { return *device_; }

 private:
  const int64_t vocab_;
  cudaStream_t stream_ = nullptr;
  const std::unique_ptr<RankGroup> no_group_;
  std::unique_ptr<UploadRing> uploads_;
  std::unique_ptr<DevicePageStore> store_;
  std::unique_ptr<DeviceSampler> device_;
  std::unique_ptr<HostSampler> host_;
  CudaBuffer logits_;
};

void ExpectLogprob(float got, float want, const std::string& name);

LogitUse Sampled(SequenceId sequence, int64_t token_index = 0);

inline std::span<const float> Row(const std::vector<float>& logits, size_t row, size_t vocab) {
  return std::span(logits).subspan(row * vocab, vocab);
}

// A row of logits; kinds in [0, kLogitKinds): equal, flat, peaked, with ties and the like.
std::vector<float> MakeLogits(int64_t vocab, int kind, uint32_t seed);
inline constexpr int kLogitKinds = 7;

// The token must hold the draw's place in the order that the definition gives, in double precision.
void ExpectDraw(std::span<const float> logits, const SamplingParams& params, double uniform,
                TokenId token, const std::string& name);

}  // namespace headgate
