// Hopper's warpgroup matrix instructions and what they need: descriptors of shared memory
// and tensor copies (PTX ISA 8.x, sections "wgmma", "cp.async.bulk.tensor"). Shared memory is named
// by its 32-bit address. Device code for sm_90a only.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "worker/cuda/device/async_copy.cuh"

namespace headgate {

// Operands lie in blocks of 8 rows and 64 bf16 columns with the 128-byte swizzle: rows of 128
// bytes, 16-byte piece p of row r at place p ^ r. A block begins at a multiple of 1,024.
inline constexpr int kSwizzleCols = 64;
inline constexpr int kSwizzleRowBytes = 128;
inline constexpr int kSwizzleBlockBytes = 8 * kSwizzleRowBytes;

// `across`: bytes from a block to the one of the next 64 columns (used where columns are the N
// dimension); `down`: to the one of the next 8 rows.
__device__ inline uint64_t SmemDescriptor(uint32_t address, uint32_t across, uint32_t down) {
  constexpr uint64_t kSwizzle128 = 1;
  return static_cast<uint64_t>((address & 0x3FFFF) >> 4) |
         static_cast<uint64_t>(across >> 4) << 16 | static_cast<uint64_t>(down >> 4) << 32 |
         kSwizzle128 << 62;
}

__device__ inline void WgmmaBegin() { asm volatile("wgmma.fence.sync.aligned;" ::: "memory"); }
__device__ inline void WgmmaCommit() {
  asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}
template <int kPending>
__device__ inline void WgmmaWait() {
  asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(kPending) : "memory");
}

// Registers that wgmma writes are read only after this, once waited for: the compiler does not know
// that a product is still under way.
template <int kCount>
__device__ inline void AfterWait(float (&registers)[kCount]) {
#pragma unroll
  for (int i = 0; i < kCount; ++i) asm volatile("" : "+f"(registers[i])::"memory");
}

#define HEADGATE_REGS_8(d, i)                                                                 \
  "+f"(d[i]), "+f"(d[i + 1]), "+f"(d[i + 2]), "+f"(d[i + 3]), "+f"(d[i + 4]), "+f"(d[i + 5]), \
      "+f"(d[i + 6]), "+f"(d[i + 7])
#define HEADGATE_REGS_16(d, i) HEADGATE_REGS_8(d, i), HEADGATE_REGS_8(d, i + 8)
#define HEADGATE_REGS_32(d, i) HEADGATE_REGS_16(d, i), HEADGATE_REGS_16(d, i + 16)
#define HEADGATE_NAMES_16 "%0,%1,%2,%3,%4,%5,%6,%7,%8,%9,%10,%11,%12,%13,%14,%15"
#define HEADGATE_NAMES_32 \
  HEADGATE_NAMES_16 ",%16,%17,%18,%19,%20,%21,%22,%23,%24,%25,%26,%27,%28,%29,%30,%31"
#define HEADGATE_NAMES_48 \
  HEADGATE_NAMES_32 ",%32,%33,%34,%35,%36,%37,%38,%39,%40,%41,%42,%43,%44,%45,%46,%47"
#define HEADGATE_NAMES_64 \
  HEADGATE_NAMES_48 ",%48,%49,%50,%51,%52,%53,%54,%55,%56,%57,%58,%59,%60,%61,%62,%63"

// d [64, 128] (+)= a [64, 16] (registers) * b [128, 16]^T, k contiguous in shared memory.
__device__ inline void WgmmaTransposed(float (&d)[64], const uint32_t (&a)[4], uint64_t b,
                                       int accumulate) {
  asm volatile(
      "{\n.reg .pred p;\nsetp.ne.b32 p, %69, 0;\n"
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{" HEADGATE_NAMES_64 "}, {%64,%65,%66,%67}, %68, p, 1, 1, 0;\n}\n"
      : HEADGATE_REGS_32(d, 0), HEADGATE_REGS_32(d, 32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b), "r"(accumulate));
}

// d [64, n] += a [64, 16] (registers) * b [16, n], n contiguous in shared memory: n = 128, 96, 64.
__device__ inline void WgmmaAdd(float (&d)[64], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n128k16.f32.bf16.bf16 "
      "{" HEADGATE_NAMES_64 "}, {%64,%65,%66,%67}, %68, 1, 1, 1, 1;\n"
      : HEADGATE_REGS_32(d, 0), HEADGATE_REGS_32(d, 32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ inline void WgmmaAdd(float (&d)[48], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n96k16.f32.bf16.bf16 "
      "{" HEADGATE_NAMES_48 "}, {%48,%49,%50,%51}, %52, 1, 1, 1, 1;\n"
      : HEADGATE_REGS_32(d, 0), HEADGATE_REGS_16(d, 32)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}
__device__ inline void WgmmaAdd(float (&d)[32], const uint32_t (&a)[4], uint64_t b) {
  asm volatile(
      "wgmma.mma_async.sync.aligned.m64n64k16.f32.bf16.bf16 "
      "{" HEADGATE_NAMES_32 "}, {%32,%33,%34,%35}, %36, 1, 1, 1, 1;\n"
      : HEADGATE_REGS_32(d, 0)
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "l"(b));
}

// d [64, n] (+)= a [64, 16] * b [n, 16]^T, k contiguous in shared memory: n = 32, 64, 96, 128.
// In the macro: `names` of d's registers, and the numbers of the operands after them.
#define HEADGATE_WGMMA_SHARED(count, n, names, first, second, third, ...)                        \
  __device__ inline void WgmmaShared(float(&d)[count], uint64_t a, uint64_t b, int accumulate) { \
    asm volatile("{\n.reg .pred p;\nsetp.ne.b32 p, %" third                                      \
                 ", 0;\nwgmma.mma_async.sync.aligned.m64n" n "k16.f32.bf16.bf16 {" names         \
                 "}, %" first ", %" second ", p, 1, 1, 0, 0;\n}\n"                               \
                 : __VA_ARGS__                                                                   \
                 : "l"(a), "l"(b), "r"(accumulate));                                             \
  }
HEADGATE_WGMMA_SHARED(16, "32", HEADGATE_NAMES_16, "16", "17", "18", HEADGATE_REGS_16(d, 0))
HEADGATE_WGMMA_SHARED(32, "64", HEADGATE_NAMES_32, "32", "33", "34", HEADGATE_REGS_32(d, 0))
HEADGATE_WGMMA_SHARED(48, "96", HEADGATE_NAMES_48, "48", "49", "50", HEADGATE_REGS_32(d, 0),
                      HEADGATE_REGS_16(d, 32))
HEADGATE_WGMMA_SHARED(64, "128", HEADGATE_NAMES_64, "64", "65", "66", HEADGATE_REGS_32(d, 0),
                      HEADGATE_REGS_32(d, 32))

// Writes of this thread to shared memory become visible to wgmma and tensor copies.
__device__ inline void FenceAsyncProxy() {
  asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}
struct BoxCorner {
  int32_t at[4];
};

// A box of four dimensions; `barrier` hears of its bytes.
__device__ inline void CopyBox(const CUtensorMap& map, uint32_t to, const BoxCorner& corner,
                               uint32_t barrier) {
  asm volatile(
      "cp.async.bulk.tensor.4d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(&map)), "r"(corner.at[0]), "r"(corner.at[1]),
      "r"(corner.at[2]), "r"(corner.at[3]), "r"(barrier)
      : "memory");
}

// A box of two dimensions, at column `x` and row `y`.
__device__ inline void CopyBox(const CUtensorMap& map, uint32_t to, int32_t x, int32_t y,
                               uint32_t barrier, uint64_t policy) {
  asm volatile(
      "cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%2, %3}], [%4], %5;" ::"r"(to),
      "l"(reinterpret_cast<uint64_t>(&map)), "r"(x), "r"(y), "r"(barrier), "l"(policy)
      : "memory");
}

template <int kRegisters>
__device__ inline void TakeRegisters() {
  asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(kRegisters));
}
template <int kRegisters>
__device__ inline void GiveRegisters() {
  asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(kRegisters));
}

}  // namespace headgate
