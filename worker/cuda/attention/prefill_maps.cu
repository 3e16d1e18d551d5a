#include <cudaTypedefs.h>

#include <cstdint>
#include <limits>

#include "base/check.h"
#include "worker/cuda/attention/prefill_maps.h"
#include "worker/cuda/attention/prefill_tile.cuh"

namespace headgate {
namespace {

using Encode = PFN_cuTensorMapEncodeTiled_v12000;

// The driver's function, found at run time: nothing links to libcuda.
Encode FindEncode() {
  static const Encode found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &result);
    return error == cudaSuccess ? reinterpret_cast<Encode>(function) : nullptr;
  }();
  return found;
}

// One dimension of a tensor map: how many, how far apart in bytes, how many in a box.
struct MapDimension {
  int64_t size;
  int64_t stride;
  int64_t box;
};

cudaError_t MakeMap(const void* data, const MapDimension (&dims)[4], CUtensorMap* map) {
  const Encode encode = FindEncode();
  if (encode == nullptr) return cudaErrorNotSupported;
  cuuint64_t sizes[4], strides[4];
  cuuint32_t box[4];
  const cuuint32_t steps[] = {1, 1, 1, 1};
  for (int i = 0; i < 4; ++i) {
    sizes[i] = static_cast<cuuint64_t>(dims[i].size);
    strides[i] = static_cast<cuuint64_t>(dims[i].stride);
    box[i] = static_cast<cuuint32_t>(dims[i].box);
  }
  const CUresult result =
      encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 4, const_cast<void*>(data), sizes, strides + 1,
             box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace

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
  if (const cudaError_t error = MakeMap(call.pages, pages, &maps->pages); error != cudaSuccess) {
    return error;
  }
  const int64_t cols = (call.heads + 2 * call.kv_heads) * dim;
  for (const bool step : {false, true}) {
    const MapDimension matrix[] = {{cols, 2, kSwizzleCols},
                                   {call.step.rows, cols * 2, 8},
                                   {blocks, block, blocks},
                                   {kKeys / 8, 8 * cols * 2, step ? kKeys / 8 : 1}};
    const cudaError_t error =
        MakeMap(call.qkv, matrix, step ? &maps->matrix_step : &maps->matrix_rows);
    if (error != cudaSuccess) return error;
  }
  return cudaSuccess;
}

}  // namespace headgate
