// Small host data on its way to the device: pinned memory in a ring, so that a step may be prepared
// while the copies of earlier ones are under way. One thread.
#pragma once

#include <cuda_runtime.h>

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "base/step.h"
#include "worker/cuda/device/device_buffer.h"

namespace headgate {

class UploadRing {
 public:
  static constexpr int kSlots = 8;  // pinned

  // Uploads of at most `bytes_max`, of which the last `device_slots` stay valid on the device; with
  // one slot the same arrays get the same addresses every time.
  static absl::StatusOr<UploadRing> Create(int64_t bytes_max, cudaStream_t stream,
                                           size_t device_slots = kSlots);
  UploadRing(UploadRing&&) = default;
  ~UploadRing();

  // Gathers arrays for one copy. Pointers are device memory, valid after Send.
  //   ring.Begin(); auto* tokens = ring.Add(span); ...; ring.Send();
  // Begin waits for the copy that last used the pinned slot.
  void Begin();
  template <typename T>
  const T* Add(std::span<const T> values) {
    return reinterpret_cast<const T*>(
        AddBytes(std::as_bytes(values), static_cast<int64_t>(alignof(T))));
  }
  void Send();

  // Bytes of the last upload.
  QueueStats Stats(const char* name) const {
    return {name, static_cast<uint64_t>(used_), static_cast<uint64_t>(bytes_max_)};
  }

 private:
  struct Slot {
    CudaBuffer host;
    cudaEvent_t sent = nullptr;
  };

  UploadRing(int64_t bytes_max, cudaStream_t stream) : bytes_max_(bytes_max), stream_(stream) {}
  const std::byte* AddBytes(std::span<const std::byte> bytes, int64_t alignment);

  int64_t bytes_max_;
  cudaStream_t stream_;
  std::array<Slot, kSlots> slots_;
  std::vector<CudaBuffer> device_;
  size_t slot_ = 0;
  size_t device_slot_ = 0;
  int64_t used_ = 0;
};

}  // namespace headgate
