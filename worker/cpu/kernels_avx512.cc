// The kernels of level avx512: one instance of the kernel headers.
#include "worker/cpu/attention_kernel.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/matmul_kernel.h"
#include "worker/cpu/row_kernel.h"
#include "worker/cpu/simd_avx512.h"

namespace headgate {

KernelTable Avx512Kernels() {
  using S = Avx512Simd;
  return {.prepare = SumGroups<S>,
          .matmul = MatMul<S>,
          .rms_norm = RmsNormRow<S>,
          .rope = RopeHead<S>,
          .silu_mul = SiluMulRow<S>,
          .add = AddRow<S>,
          .to_bf16 = RowToBf16<S>,
          .begin_rows = BeginRows<S>,
          .load_block = LoadBlock<S>,
          .attend_block = AttendBlock<S>,
          .end_row = EndRow<S>};
}

}  // namespace headgate
