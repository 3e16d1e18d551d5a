// The memory through which kernels of the ranks of one machine reach each other
// (peer_exchange.cuh). Whose that is: peer_group.h.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

namespace headgate {

inline constexpr int kPeersMax = 8;

// As one rank sees it. Every rank has an inbox [2][ranks - 1][cells_max] of 16-byte
// cells (device/arrival.h), empty at first: parity, sender among the others, cell.
struct PeerView {
  uint4* inbox[kPeersMax] = {};  // by rank, as mapped here
  uint8_t* turns = nullptr;      // [cells_max], ours: the parity that cell i takes next; 0 at first
  uint32_t* lost = nullptr;      // host memory: 1 + a rank that did not answer; 0 at first
  int64_t cells_max = 0;
  int64_t wait_ns_max = 0;  // for one answer
  int32_t rank = 0;
  int32_t ranks = 0;
  int32_t multiprocessors = 0;
};

}  // namespace headgate
