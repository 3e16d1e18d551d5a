// The tensor maps (device/tensor_map.h) of what prefill attention reads. Made for every launch,
// about a microsecond.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include "worker/cuda/attention/attention.h"

namespace headgate {

// Boxes arrive in shared memory as blocks of 8 rows and 64 columns with the 128-byte swizzle, a
// row group's blocks in order. All have four coordinates:
//   pages: column in its block, row in its group of 8, block, group of the pages' rows;
//   matrix (the step's q, k and v): column, row, block, and how many groups of 8 rows after it.
// Where head_dim is no multiple of 64 a box has one block, and columns past the end are zero.
struct PrefillMaps {
  CUtensorMap pages;        // boxes of 16 rows
  CUtensorMap matrix_rows;  // of 8
  CUtensorMap matrix_step;  // of 128: only where so many rows are left in the matrix
};

// cudaErrorNotSupported: the driver knows no tensor maps. cudaErrorInvalidValue: it refuses these.
cudaError_t MakePrefillMaps(const AttentionCall& call, PrefillMaps* maps);

}  // namespace headgate
