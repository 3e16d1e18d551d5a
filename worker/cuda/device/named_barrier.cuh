// Barriers of some of a block's warps (PTX ISA, section "bar"). Device code.
#pragma once

namespace headgate {

// Of `threads` threads that name the same barrier, 1 to 15.
__device__ inline void NamedBarrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// The same for warps that come from different places in the code (NamedBarrier's form, ".aligned",
// demands that all execute one instruction); whether one of them says so.
__device__ inline bool NamedBarrierOr(int id, int threads, bool value) {
  int any;
  asm volatile(
      "{\n.reg .pred mine, found;\nsetp.ne.b32 mine, %1, 0;\n"
      "barrier.red.or.pred found, %2, %3, mine;\nselp.b32 %0, 1, 0, found;\n}\n"
      : "=r"(any)
      : "r"(static_cast<int>(value)), "r"(id), "r"(threads)
      : "memory");
  return any != 0;
}

// As NamedBarrier, without waiting.
__device__ inline void NamedArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace headgate
