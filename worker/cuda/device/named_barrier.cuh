// Barriers of some of a block's warps (PTX ISA, section "bar"). Device code.
#pragma once

namespace headgate {

// Of `threads` threads that name the same barrier, 1 to 15.
__device__ inline void NamedBarrier(int id, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

// As NamedBarrier, without waiting.
__device__ inline void NamedArrive(int id, int threads) {
  asm volatile("bar.arrive %0, %1;" ::"r"(id), "r"(threads) : "memory");
}

}  // namespace headgate
