// The kernels of level amx: tiles for quantised and bf16 weights, AVX-512 for the rest.
#include "worker/cpu/amx_matmul.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/matmul_kernel.h"
#include "worker/cpu/row_kernel.h"
#include "worker/cpu/simd_avx512.h"

namespace headgate {
namespace {

void PrepareRows(const PreparedRows& rows, int64_t begin, int64_t end) {
  SumGroups<Avx512Simd>(rows, begin, end);
  if (rows.split != nullptr) SplitRows(rows, begin, end);
}

void MatMulTiles(const MatMulCall& call, int64_t begin, int64_t end, std::byte* scratch) {
  if (call.rows.split == nullptr) return MatMul<Avx512Simd>(call, begin, end, scratch);
  MultiplyAllRows(call, begin, end, scratch);
  if (call.bias != nullptr) AddBias<Avx512Simd>(call, begin, end);
}

}  // namespace

KernelTable AmxKernels() {
  KernelTable kernels = Avx512Kernels();
  kernels.prepare = PrepareRows;
  kernels.matmul = MatMulTiles;
  return kernels;
}

}  // namespace headgate
