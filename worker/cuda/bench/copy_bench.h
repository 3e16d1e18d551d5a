// What device memory delivers: the ceilings that kernels are measured against. One thread.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace headgate {

struct Bandwidth {
  std::string name;
  double tb_s = 0.0;  // 1e12 bytes read, or read and written, in a second
};

// Random signs and mantissas; of these sizes.
enum class FillSize : uint8_t { kHundredth, kUpToTwo };

// Fills memory with bf16 numbers. REQUIRES: bytes a multiple of 4.
void LaunchFillBf16(void* to, int64_t bytes, uint32_t seed, cudaStream_t stream,
                    FillSize size = FillSize::kHundredth);

// How fast `bytes` of device memory can be read: in order, or (part_bytes > 0, a multiple of 512)
// part by part in an order like that of pages in use; the best of several launches. `sink` [1] is
// written only to keep the compiler from leaving the reads out. Errors: CUDA's.
absl::StatusOr<double> ReadTbPerS(const void* from, int64_t bytes, int64_t part_bytes,
                                  uint32_t* sink);

// Linear read and copy, and reads of 4, 8 and 16 KB parts by loads and by bulk copies that one
// thread of a block issues (compute capability 9.0), of `bytes` of memory (several times the L2
// cache). Errors: CUDA's.
absl::StatusOr<std::vector<Bandwidth>> MeasureBandwidth(int64_t bytes);

}  // namespace headgate
