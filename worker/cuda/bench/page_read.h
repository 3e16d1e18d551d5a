// Kernels of the attention benchmark. Asynchronous on `stream`; a launch error is what
// cudaGetLastError says.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "base/ids.h"

namespace headgate {

// bf16 values in (-2, 2). REQUIRES: bytes a multiple of 16.
void LaunchFillRandom(std::byte* memory, int64_t bytes, uint32_t seed, cudaStream_t stream);

// Reads pages ids[0..count) of `page_bytes` at `pages` in this order, and does nothing with them.
// `sink` [1] is written only to keep the compiler from leaving the loads out. REQUIRES: page_bytes
// a multiple of 512.
void LaunchReadPages(const std::byte* pages, int64_t page_bytes, const PageId* ids, int64_t count,
                     uint32_t* sink, cudaStream_t stream);

}  // namespace headgate
