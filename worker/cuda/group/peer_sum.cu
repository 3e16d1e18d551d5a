// No flags and no barriers: a value's arrival is seen in the value itself, because an empty cell
// holds a bit pattern that is never sent. Every 32-bit word is looked at, so it does not matter in
// which order the words of a cell, or cells, arrive.
//
// Two inboxes in turn suffice. A rank empties a cell as soon as it has read it. A peer writes to
// the same cell again two uses of it later; in between it waited for what this rank sent in the use
// between, and this rank sent that after the kernel that emptied the cell had ended
// (AwaitEarlierKernels). The turn is kept per cell: calls of different shapes use different cells,
// and no block must know when the others of its grid have read a common counter.
#include <algorithm>
#include <type_traits>

#include "worker/cuda/device/block_sum.cuh"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/group/peer_sum.h"
#include "worker/cuda/rows/row_vector.cuh"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

constexpr int kThreads = 256;
constexpr int64_t kSmThreads = 1024;   // that a multiprocessor surely runs: 64 registers each
constexpr int kPollsUnwatched = 1024;  // some 0.5 ms

// Past the L1 cache; in the order of nothing else.
__device__ __forceinline__ uint4 LoadInbox(const uint4* from) {
  uint4 cell;
  asm volatile("ld.relaxed.sys.global.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(cell.x), "=r"(cell.y), "=r"(cell.z), "=r"(cell.w)
               : "l"(from)
               : "memory");
  return cell;
}

__device__ __forceinline__ void StoreInbox(uint4* to, uint4 cell) {
  asm volatile("st.relaxed.sys.global.v4.u32 [%0], {%1, %2, %3, %4};" ::"l"(to), "r"(cell.x),
               "r"(cell.y), "r"(cell.z), "r"(cell.w)
               : "memory");
}

// Two NaNs of one kind become two of another.
__device__ __forceinline__ uint32_t NeverEmpty(uint32_t word) {
  return word == kEmptyWord ? 0x7fff7fffu : word;
}

__device__ __forceinline__ bool Arrived(uint4 cell) {
  return cell.x != kEmptyWord && cell.y != kEmptyWord && cell.z != kEmptyWord &&
         cell.w != kEmptyWord;
}

__device__ __forceinline__ uint64_t NowNs() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

// Whether to wait no longer for `missing`; begin_ns is 0 at the first call of a wait. Once a peer
// is lost, later kernels do not wait either: a step ends one time limit after its first loss.
__device__ __noinline__ bool GiveUp(const PeerView& peers, int missing, uint64_t& begin_ns) {
  volatile uint32_t* lost = peers.lost;
  if (*lost != 0) return true;
  const uint64_t now = NowNs();
  if (begin_ns == 0) begin_ns = now;
  if (now - begin_ns < static_cast<uint64_t>(peers.wait_ns_max)) return false;
  *lost = static_cast<uint32_t>(missing) + 1;
  __threadfence_system();
  return true;
}

__device__ __forceinline__ void Accumulate(Values<8>& sum, uint4 cell) {
  const uint32_t words[4] = {cell.x, cell.y, cell.z, cell.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    sum.at[2 * i] += __uint_as_float(words[i] << 16);
    sum.at[2 * i + 1] += __uint_as_float(words[i] & 0xffff0000u);
  }
}

// Where the cells of `sender` begin in the inbox of another rank, `owner`.
__device__ __forceinline__ int64_t SenderOffset(const PeerView& peers, int sender, int owner) {
  return (sender < owner ? sender : sender - 1) * peers.cells_max;
}

// Sends `mine` to every peer and returns rank 0's + rank 1's + ..., in this order everywhere: the
// same bits on every rank. NaN when a peer is lost.
template <int kRanks>
__device__ __forceinline__ Values<8> SumOverRanks(const PeerView& peers, int64_t cell, uint4 mine,
                                                  uint8_t turn) {
  const int64_t at = turn * (peers.ranks - 1) * peers.cells_max + cell;
  const uint4 sent = {NeverEmpty(mine.x), NeverEmpty(mine.y), NeverEmpty(mine.z),
                      NeverEmpty(mine.w)};
#pragma unroll
  for (int r = 0; r < kRanks; ++r) {
    if (r < peers.ranks && r != peers.rank)
      StoreInbox(peers.inbox[r] + at + SenderOffset(peers, peers.rank, r), sent);
  }
  uint4* inbox = peers.inbox[peers.rank] + at;
  uint4 cells[kRanks];
  uint64_t begin_ns = 0;
  for (int polls = 1;; ++polls) {
    int missing = -1;
#pragma unroll
    for (int r = 0; r < kRanks; ++r) {
      cells[r] = sent;
      if (r < peers.ranks && r != peers.rank)
        cells[r] = LoadInbox(inbox + SenderOffset(peers, r, peers.rank));
    }
#pragma unroll
    for (int r = 0; r < kRanks; ++r) {
      if (r < peers.ranks && r != peers.rank && !Arrived(cells[r])) missing = r;
    }
    if (missing < 0) break;
    if (polls % kPollsUnwatched == 0 && GiveUp(peers, missing, begin_ns)) break;
  }
  Values<8> sum = {};
#pragma unroll
  for (int r = 0; r < kRanks; ++r) {
    if (r >= peers.ranks) continue;
    Accumulate(sum, cells[r]);
    if (r != peers.rank) {
      StoreInbox(inbox + SenderOffset(peers, r, peers.rank),
                 make_uint4(kEmptyWord, kEmptyWord, kEmptyWord, kEmptyWord));
    }
  }
  peers.turns[cell] = turn ^ 1;
  return sum;
}

// The new values of residual at cell `cell`, stored too.
template <int kRanks>
__device__ __forceinline__ Values<8> AddSum(const PeerView& peers, float* residual,
                                            const bf16* delta, int64_t cell) {
  const uint4 mine = reinterpret_cast<const uint4*>(delta)[cell];
  const uint8_t turn = peers.turns[cell];
  Values<8> x = Load<8>(residual + cell * kCellValues);
  const Values<8> sum = SumOverRanks<kRanks>(peers, cell, mine, turn);
#pragma unroll
  for (int i = 0; i < 8; ++i) x.at[i] += sum.at[i];
  Store(residual + cell * kCellValues, x);
  return x;
}

// A block per row, and more rows in turn; one cell per thread.
template <int kRanks>
__global__ void __launch_bounds__(kBlockThreadsMax)
    SumAddRmsNormKernel(const __grid_constant__ PeerView peers, float* residual, const bf16* delta,
                        const float* weight, float eps, int64_t rows, int64_t cols, bf16* out) {
  LetNextKernelStart();
  const int64_t column = threadIdx.x * kCellValues;
  const bool exists = column < cols;
  Values<8> weights = {};
  if (exists) weights = Load<8>(weight + column);
  AwaitEarlierKernels();
  for (int64_t row = blockIdx.x; row < rows; row += gridDim.x) {
    if (row != blockIdx.x) __syncthreads();  // SumOverBlock's memory
    const int64_t at = row * cols + column;
    Values<8> x = {};
    if (exists) x = AddSum<kRanks>(peers, residual, delta, at / kCellValues);
    float squares = 0.0f;
#pragma unroll
    for (int i = 0; i < 8; ++i) squares += x.at[i] * x.at[i];
    const float factor = rsqrtf(SumOverBlock(squares) / static_cast<float>(cols) + eps);
    if (!exists) continue;
#pragma unroll
    for (int i = 0; i < 8; ++i) x.at[i] *= factor * weights.at[i];
    Store(out + at, x);
  }
}

template <int kRanks>
__global__ void __launch_bounds__(kThreads, kSmThreads / kThreads)
    SumAddKernel(const __grid_constant__ PeerView peers, float* residual, const bf16* delta,
                 int64_t cells) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t stride = static_cast<int64_t>(gridDim.x) * kThreads;
  for (int64_t cell = blockIdx.x * int64_t{kThreads} + threadIdx.x; cell < cells; cell += stride) {
    AddSum<kRanks>(peers, residual, delta, cell);
  }
}

// Calls launch(std::integral_constant<int, n>) for the least n of 2, 4, 8 that holds the ranks.
template <typename Launch>
void WithRanks(int ranks, const Launch& launch) {
  if (ranks <= 2) {
    launch(std::integral_constant<int, 2>());
  } else if (ranks <= 4) {
    launch(std::integral_constant<int, 4>());
  } else {
    launch(std::integral_constant<int, 8>());
  }
}

// No more than run at once: a block that has not started sends nothing, and those of a peer that
// wait for it may keep the peer's from starting. Blocks take rows, or cells, in ascending order, so
// the least that is not done yet is under way on every rank.
unsigned Blocks(const PeerView& peers, int64_t wanted, int64_t threads) {
  return static_cast<unsigned>(
      std::min(wanted, int64_t{peers.multiprocessors} * (kSmThreads / threads)));
}

}  // namespace

void LaunchSumAddRmsNorm(const PeerView& peers, float* residual, const bf16* delta,
                         const float* weight, float eps, int64_t rows, int64_t cols, bf16* out,
                         cudaStream_t stream) {
  if (rows == 0) return;
  const int64_t threads = Cover(cols / kCellValues, kWarpThreads) * kWarpThreads;
  WithRanks(peers.ranks, [&](auto ranks) {
    LaunchOverlapping(SumAddRmsNormKernel<ranks()>, Blocks(peers, rows, threads),
                      static_cast<unsigned>(threads), 0, stream, peers, residual, delta, weight,
                      eps, rows, cols, out);
  });
}

void LaunchSumAdd(const PeerView& peers, float* residual, const bf16* delta, int64_t rows,
                  int64_t cols, cudaStream_t stream) {
  const int64_t cells = rows * cols / kCellValues;
  if (cells == 0) return;
  WithRanks(peers.ranks, [&](auto ranks) {
    LaunchOverlapping(SumAddKernel<ranks()>, Blocks(peers, Cover(cells, kThreads), kThreads),
                      kThreads, 0, stream, peers, residual, delta, cells);
  });
}

}  // namespace headgate
