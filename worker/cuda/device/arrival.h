// Cells of 16 bytes whose arrival is seen in themselves: an empty one holds a bit pattern that is
// never sent. No flag and no fence: what is in a cell is known one store and one load after it was
// sent. Every 32-bit word is looked at, so it does not matter in which order the words of a cell,
// or cells, arrive.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace headgate {

inline constexpr int64_t kCellBytes = 16;
inline constexpr uint32_t kEmptyWord = 0xffffffffu;  // two NaNs in bf16, one in fp32

// Empties what lies in device memory.
inline cudaError_t EmptyCells(void* cells, int64_t bytes, cudaStream_t stream) {
  static_assert(kEmptyWord == 0xffffffffu);  // bytes of 0xff
  return cudaMemsetAsync(cells, 0xff, static_cast<size_t>(bytes), stream);
}

#ifdef __CUDACC__

__device__ __forceinline__ uint4 Empty() {
  return make_uint4(kEmptyWord, kEmptyWord, kEmptyWord, kEmptyWord);
}

// What is sent instead: NaNs of another kind.
__device__ __forceinline__ uint32_t NeverEmpty(uint32_t word) {
  return word == kEmptyWord ? 0x7fff7fffu : word;
}
__device__ __forceinline__ uint4 NeverEmpty(uint4 cell) {
  return {NeverEmpty(cell.x), NeverEmpty(cell.y), NeverEmpty(cell.z), NeverEmpty(cell.w)};
}

__device__ __forceinline__ bool Arrived(uint4 cell) {
  return cell.x != kEmptyWord && cell.y != kEmptyWord && cell.z != kEmptyWord &&
         cell.w != kEmptyWord;
}

// Past the L1 cache; in the order of nothing else.
__device__ __forceinline__ uint4 LoadCell(const uint4* from) {
  uint4 cell;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(cell.x), "=r"(cell.y), "=r"(cell.z), "=r"(cell.w)
               : "l"(from)
               : "memory");
  return cell;
}

// The same if `wanted`, without a branch: several go out together.
__device__ __forceinline__ void LoadCellIf(bool wanted, const uint4* from, uint4* cell) {
  asm volatile(
      "{\n.reg .pred wanted;\nsetp.ne.b32 wanted, %5, 0;\n"
      "@wanted ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];\n}\n"
      : "+r"(cell->x), "+r"(cell->y), "+r"(cell->z), "+r"(cell->w)
      : "l"(from), "r"(static_cast<int>(wanted))
      : "memory");
}

__device__ __forceinline__ void StoreCell(uint4* to, uint4 cell) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(cell.x),
               "r"(cell.y), "r"(cell.z), "r"(cell.w)
               : "memory");
}

__device__ __forceinline__ void EmptyCell(uint4* cell) { StoreCell(cell, Empty()); }

#endif

}  // namespace headgate
