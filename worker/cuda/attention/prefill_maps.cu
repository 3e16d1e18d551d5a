#include <cstdint>
#include <limits>

#include "base/check.h"
#include "worker/cuda/attention/prefill_maps.h"
#include "worker/cuda/attention/prefill_tile.cuh"
#include "worker/cuda/device/tensor_map.h"

namespace headgate {

cudaError_t MakePrefillMaps(const AttentionCall& call, PrefillMaps* maps) {
  const int64_t dim = call.head_dim, row = dim * 2, block = kSwizzleRowBytes;
  const bool whole = dim % kSwizzleCols == 0;
  const int64_t blocks = whole ? dim / kSwizzleCols : 1;
  const int64_t page_rows = int64_t{2} * call.tables.page_tokens * call.tables.pages_total;
  CHECK_LE(page_rows, std::numeric_limits<int32_t>::max())
      << "FindBox counts rows of pages in 32 bits";
  const MapDimension pages[] = {{whole ? kSwizzleCols : dim, 2, kSwizzleCols},
                                {8, row, 8},
                                {blocks, block, blocks},
                                {page_rows / 8, 8 * row, kBoxKeys / 8}};
  if (const cudaError_t error = MakeTensorMap(call.pages, pages, &maps->pages);
      error != cudaSuccess) {
    return error;
  }
  const int64_t cols = (call.heads + 2 * call.kv_heads) * dim;
  for (const bool step : {false, true}) {
    const MapDimension matrix[] = {{cols, 2, kSwizzleCols},
                                   {call.step.rows, cols * 2, 8},
                                   {blocks, block, blocks},
                                   {kKeys / 8, 8 * cols * 2, step ? kKeys / 8 : 1}};
    const cudaError_t error =
        MakeTensorMap(call.qkv, matrix, step ? &maps->matrix_step : &maps->matrix_rows);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace headgate
