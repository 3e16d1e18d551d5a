// How kernels of the ranks hand each other cells, one shot, by stores into the others' memory: no
// flags and no barriers, a value's arrival is seen in the value itself (device/arrival.h; NVIDIA
// TensorRT-LLM's "Lamport" all-reduce has this form). Device code.
//
// Two inboxes in turn suffice. A rank empties a cell as soon as it has read it. A peer writes to
// the same cell again two uses of it later; in between it waited for what this rank sent in the use
// between, and this rank sent that after the kernel that emptied the cell had ended
// (AwaitEarlierKernels). The turn is kept per cell: calls of different shapes use different cells,
// and no block must know when the others of its grid have read a common counter.
#pragma once

#include <algorithm>
#include <cstdint>
#include <type_traits>

#include "worker/cuda/device/arrival.h"
#include "worker/cuda/group/peer_view.h"

namespace headgate {

inline constexpr int64_t kSmThreads = 1024;  // that a multiprocessor surely runs: 64 registers each
inline constexpr int kPollsUnwatched = 1024;  // some 0.5 ms

__device__ __forceinline__ uint64_t NowNs() {
  uint64_t now;
  asm volatile("mov.u64 %0, %%globaltimer;" : "=l"(now));
  return now;
}

// Whether to wait no longer for `missing`; begin_ns is 0 at the first call of a wait. Once a peer
// is lost, later kernels do not wait either: a step ends one time limit after its first loss.
static __device__ __noinline__ bool GiveUp(const PeerView& peers, int missing, uint64_t& begin_ns) {
  volatile uint32_t* lost = peers.lost;
  if (*lost != 0) return true;
  const uint64_t now = NowNs();
  if (begin_ns == 0) begin_ns = now;
  if (now - begin_ns < static_cast<uint64_t>(peers.wait_ns_max)) return false;
  *lost = static_cast<uint32_t>(missing) + 1;
  __threadfence_system();
  return true;
}

// Where the cells of `sender` begin in the inbox of another rank, `owner`.
__device__ __forceinline__ int64_t SenderOffset(const PeerView& peers, int sender, int owner) {
  return (sender < owner ? sender : sender - 1) * peers.cells_max;
}

// Sends `mine` to every peer; cells[r] becomes what rank r sent, in fp32 and bf16 NaN where a peer
// is lost. `turn`: peers.turns[cell], which changes.
template <int kRanks>
__device__ __forceinline__ void Exchange(const PeerView& peers, int64_t cell, uint4 mine,
                                         uint8_t turn, uint4 (&cells)[kRanks]) {
  const int64_t at = turn * (peers.ranks - 1) * peers.cells_max + cell;
  const uint4 sent = NeverEmpty(mine);
#pragma unroll
  for (int r = 0; r < kRanks; ++r) {
    if (r < peers.ranks && r != peers.rank)
      StoreCell(peers.inbox[r] + at + SenderOffset(peers, peers.rank, r), sent);
  }
  uint4* inbox = peers.inbox[peers.rank] + at;
  uint64_t begin_ns = 0;
  for (int polls = 1;; ++polls) {
    int missing = -1;
#pragma unroll
    for (int r = 0; r < kRanks; ++r) {
      cells[r] = sent;
      if (r < peers.ranks && r != peers.rank)
        cells[r] = LoadCell(inbox + SenderOffset(peers, r, peers.rank));
    }
#pragma unroll
    for (int r = 0; r < kRanks; ++r) {
      if (r < peers.ranks && r != peers.rank && !Arrived(cells[r])) missing = r;
    }
    if (missing < 0) break;
    if (polls % kPollsUnwatched == 0 && GiveUp(peers, missing, begin_ns)) break;
  }
#pragma unroll
  for (int r = 0; r < kRanks; ++r) {
    if (r < peers.ranks && r != peers.rank) EmptyCell(inbox + SenderOffset(peers, r, peers.rank));
  }
  peers.turns[cell] = turn ^ 1;
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
inline unsigned Blocks(const PeerView& peers, int64_t wanted, int64_t threads) {
  return static_cast<unsigned>(
      std::min(wanted, int64_t{peers.multiprocessors} * (kSmThreads / threads)));
}

}  // namespace headgate
