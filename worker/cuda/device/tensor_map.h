// Tensor maps: what Hopper's copy engine needs to know of a matrix in device memory (CUDA driver
// API, "Tensor Map Object Management").
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <span>

namespace headgate {

struct MapDimension {
  int64_t size;    // elements
  int64_t stride;  // bytes from one to the next; of the first dimension it is not read
  int64_t box;     // how many of them in a copy
};

// Of bf16 values, dimensions from the closest on, at most 5; copies have the 128-byte swizzle
// (wgmma.cuh), and zeros for what lies outside. cudaErrorNotSupported: the driver knows no tensor
// maps. cudaErrorInvalidValue: it refuses this one.
cudaError_t MakeTensorMap(const void* data, std::span<const MapDimension> dims, CUtensorMap* map);

}  // namespace headgate
