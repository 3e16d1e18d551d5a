// Picks the kernels of a level.
#include "worker/cpu/kernel_table.h"

#include "base/check.h"

namespace headgate {

KernelTable KernelsFor(IsaLevel level) {
  switch (level) {
#if defined(__x86_64__)
    case IsaLevel::kAvx2:
      return Avx2Kernels();
    case IsaLevel::kAvx512:
      return Avx512Kernels();
    case IsaLevel::kAmx:
      return AmxKernels();
#endif
    case IsaLevel::kScalar:
      return ScalarKernels();
    default:
      CHECK(false) << "no kernels for instruction set " << IsaName(level);
      return {};
  }
}

}  // namespace headgate
