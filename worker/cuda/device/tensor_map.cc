#include "worker/cuda/device/tensor_map.h"

#include <cudaTypedefs.h>

#include "base/check.h"

namespace headgate {
namespace {

using Encode = PFN_cuTensorMapEncodeTiled_v12000;

constexpr size_t kDimensionsMax = 5;

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

}  // namespace

cudaError_t MakeTensorMap(const void* data, std::span<const MapDimension> dims, CUtensorMap* map) {
  CHECK(!dims.empty() && dims.size() <= kDimensionsMax) << "dimensions of a tensor map";
  const Encode encode = FindEncode();
  if (encode == nullptr) return cudaErrorNotSupported;
  cuuint64_t sizes[kDimensionsMax], strides[kDimensionsMax];
  cuuint32_t box[kDimensionsMax];
  const cuuint32_t steps[] = {1, 1, 1, 1, 1};
  for (size_t i = 0; i < dims.size(); ++i) {
    sizes[i] = static_cast<cuuint64_t>(dims[i].size);
    strides[i] = static_cast<cuuint64_t>(dims[i].stride);
    box[i] = static_cast<cuuint32_t>(dims[i].box);
  }
  const CUresult result =
      encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, static_cast<cuuint32_t>(dims.size()),
             const_cast<void*>(data), sizes, strides + 1, box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             CU_TENSOR_MAP_SWIZZLE_128B, CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
             CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace headgate
