// Memory that begins at a cache line (a huge page when it is large), zeroed, freed with its owner.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <memory>

#include "absl/status/statusor.h"

namespace headgate {

class AlignedBuffer {
 public:
  AlignedBuffer() = default;

  // RESOURCE_EXHAUSTED when there is no memory; INVALID_ARGUMENT when bytes < 0.
  static absl::StatusOr<AlignedBuffer> Create(int64_t bytes);

  std::byte* data() const { return data_.get(); }
  int64_t bytes() const { return bytes_; }
  template <typename T>
  T* as() const {
    return reinterpret_cast<T*>(data_.get());
  }

 private:
  struct Free {
    void operator()(std::byte* p) const { std::free(p); }
  };
  std::unique_ptr<std::byte, Free> data_;
  int64_t bytes_ = 0;
};

}  // namespace headgate
