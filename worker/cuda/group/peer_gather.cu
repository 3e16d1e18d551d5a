#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/group/peer_exchange.cuh"
#include "worker/cuda/group/peer_gather.h"

namespace headgate {
namespace {

constexpr int kThreads = 256;
constexpr int64_t kCellFloats = kCellBytes / sizeof(float);

template <int kRanks>
__global__ void __launch_bounds__(kThreads, kSmThreads / kThreads)
    GatherColumnsKernel(const __grid_constant__ PeerView peers, const uint4* own, uint32_t cells,
                        uint32_t row_cells, uint4* out) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const uint32_t stride = gridDim.x * kThreads;
  for (uint32_t cell = blockIdx.x * kThreads + threadIdx.x; cell < cells; cell += stride) {
    uint4 columns[kRanks];
    Exchange<kRanks>(peers, cell, own[cell], peers.turns[cell], columns);
    const int64_t row = cell / row_cells, at = cell % row_cells;
#pragma unroll
    for (int r = 0; r < kRanks; ++r) {
      if (r < peers.ranks) out[(row * peers.ranks + r) * row_cells + at] = columns[r];
    }
  }
}

}  // namespace

void LaunchGatherColumns(const PeerView& peers, const float* own, int64_t rows, int64_t cols,
                         float* out, cudaStream_t stream) {
  const int64_t cells = rows * cols / kCellFloats;
  if (cells == 0) return;
  WithRanks(peers.ranks, [&](auto ranks) {
    LaunchOverlapping(GatherColumnsKernel<ranks()>, Blocks(peers, Cover(cells, kThreads), kThreads),
                      kThreads, 0, stream, peers, reinterpret_cast<const uint4*>(own),
                      static_cast<uint32_t>(cells), static_cast<uint32_t>(cols / kCellFloats),
                      reinterpret_cast<uint4*>(out));
  });
}

}  // namespace headgate
