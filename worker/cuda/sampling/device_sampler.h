// Samples where the logits are: they never leave the device. Kernels write outcomes to pinned
// memory, where the host finds them when the step has ended. With several ranks every rank gets all
// logits and draws the same token itself.
//
// Device memory, all taken at creation: counts for penalties, places x vocabulary x 2 bytes (1,024
// places of 128,256 tokens: 263 MB); with several ranks logits, 2 x rows_max x vocabulary x 4
// bytes.
//
// The worker's step thread owns it. Kernels read everything that differs between steps from fixed
// addresses; the number of rows and where outcomes go are arguments.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/step.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/device/event_clock.h"
#include "worker/cuda/device/upload_ring.h"
#include "worker/cuda/group/rank_group.h"
#include "worker/cuda/pages/device_page_store.h"
#include "worker/cuda/sampling/sample.h"
#include "worker/sampling/token_sampler.h"

namespace headgate {

class DeviceSampler final : public TokenSampler {
 public:
  static constexpr size_t kStepsMax = 4;  // ended and not awaited

  // `group` is the owner of the peers: looked at in every step, null between epochs, not used by a
  // rank of its own. EndStep ends the step that has begun on `clock`; null: there is none. All four
  // must outlive the sampler. RESOURCE_EXHAUSTED when there is no memory.
  static absl::StatusOr<std::unique_ptr<DeviceSampler>> Create(
      const SamplerShape& shape, const DevicePageStore& store,
      const std::unique_ptr<RankGroup>& group, cudaStream_t stream, EventClock* clock);
  ~DeviceSampler() override;

  std::vector<QueueStats> Queues() const override {
    return {uploads_.Stats("sample_upload_bytes")};
  }
  void Add(const SequenceStart& start) override;
  void Remove(SequenceId sequence) override { sequences_.erase(sequence); }
  void Clear() override;
  // kLastSampled stays in the batch: last_tokens() says what it means.
  void BeginStep(Batch& batch) override;
  absl::Status Choose(Tensor logits, std::span<const LogitUse> uses) override;
  absl::Status EndStep() override;
  absl::StatusOr<bool> Ready() override;
  // A rank of its own waits for the device alone. With peers a step may never end: it asks for the
  // step and for the peers in turn, and sleeps for some 0.05 ms in between.
  absl::StatusOr<std::vector<LogitOutcome>> Await() override;

  // Device memory, by DevicePageStore::Place: the token that a sequence sampled last; for kernels
  // launched after Choose.
  const TokenId* last_tokens() const { return last_tokens_.as<const TokenId>(); }

 private:
  struct Live {
    int32_t place = 0;
    SamplingParams params;
    bool penalised = false;
    int64_t prompt_tokens = 0;
  };
  struct Use {
    bool sample = false;
    bool scored = false;
  };
  // A step from BeginStep until it is awaited.
  struct Step {
    std::vector<Use> uses;
    CudaBuffer outcomes;  // pinned, [uses_max]: 192 bytes each
    cudaEvent_t ended = nullptr;
  };

  DeviceSampler(const SamplerShape& shape, int64_t vocab, const DevicePageStore& store,
                const std::unique_ptr<RankGroup>& group, UploadRing uploads, cudaStream_t stream,
                EventClock* clock);
  absl::Status Allocate();

  const Live& Find(SequenceId sequence) const;
  void CountTokens(std::span<const FedToken> fed);
  SampleRow MakeRow(const LogitUse& use) const;
  // All columns of `logits`.
  absl::StatusOr<const float*> Gather(Tensor logits);
  Step& open() { return steps_[(oldest_ + ended_) % kStepsMax]; }
  Step& oldest() { return steps_[oldest_]; }

  const SamplerShape shape_;
  const int64_t vocab_;  // columns of all ranks
  const DevicePageStore& store_;
  const std::unique_ptr<RankGroup>& group_;
  const cudaStream_t stream_;
  EventClock* const clock_;  // null: none
  UploadRing uploads_;       // with one place on the device

  CudaBuffer last_tokens_;  // [places]
  CudaBuffer counts_;       // [places, vocab]
  CudaBuffer parts_, all_;  // [rows_max, vocab] of several ranks

  absl::flat_hash_map<SequenceId, Live> sequences_;
  std::array<Step, kStepsMax> steps_;
  size_t oldest_ = 0;
  size_t ended_ = 0;  // steps, from the oldest on; the open one follows
};

}  // namespace headgate
