// The kernels of level amx: tiles for quantised and bf16 weights, AVX-512 for the rest.
#include "worker/cpu/amx_attention.h"
#include "worker/cpu/amx_matmul.h"
#include "worker/cpu/attention_kernel.h"
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

// fp32 pages: plain fp32 arithmetic, the same bits as the levels below.
void BeginRowsAny(AttendState& state) {
  state.bf16_pages ? BeginRowsTiles(state) : BeginRows<Avx512Simd>(state);
}

void LoadBlockAny(AttendState& state, const KeyBlock& block) {
  state.bf16_pages ? LoadBlockTiles(state, block) : LoadBlock<Avx512Simd>(state, block);
}

void AttendBlockAny(AttendState& state, const uint64_t* visible, int count) {
  state.bf16_pages ? AttendBlockTiles(state, visible, count)
                   : AttendBlock<Avx512Simd>(state, visible, count);
}

}  // namespace

KernelTable AmxKernels() {
  KernelTable kernels = Avx512Kernels();
  kernels.prepare = PrepareRows;
  kernels.matmul = MatMulTiles;
  kernels.begin_rows = BeginRowsAny;
  kernels.load_block = LoadBlockAny;
  kernels.attend_block = AttendBlockAny;
  return kernels;
}

}  // namespace headgate
