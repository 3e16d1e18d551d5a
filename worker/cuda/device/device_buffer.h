// Memory that CUDA gave: on the device, or pinned on the host. Not thread safe.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

#include "absl/status/statusor.h"

namespace headgate {

enum class MemoryPlace : uint8_t { kDevice, kPinned };

class CudaBuffer {
 public:
  // RESOURCE_EXHAUSTED when there is none. Contents are undefined.
  static absl::StatusOr<CudaBuffer> Create(MemoryPlace place, int64_t bytes);

  CudaBuffer() = default;
  ~CudaBuffer();
  CudaBuffer(CudaBuffer&& other) noexcept { *this = std::move(other); }
  CudaBuffer& operator=(CudaBuffer&& other) noexcept {
    std::swap(place_, other.place_);
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

  std::byte* data() const { return static_cast<std::byte*>(data_); }
  template <typename T>
  T* as() const {
    return static_cast<T*>(data_);
  }
  int64_t bytes() const { return bytes_; }

 private:
  MemoryPlace place_ = MemoryPlace::kDevice;
  void* data_ = nullptr;
  int64_t bytes_ = 0;
};

}  // namespace headgate
