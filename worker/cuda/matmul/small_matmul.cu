// Four warps of a block copy w, 16 rows by 512 columns at a time, into a ring of stages in shared
// memory (a warp issues one row after the other); eight warps multiply. w is the A operand of the
// tensor cores (16 x 16), x the B operand (16 x 8): rows of x that do not exist cost nothing. In
// every 32 columns the lanes take the columns in another order than the instruction numbers them,
// the same for w and x: a lane's 8 values are then 16 bytes side by side. Rows of w lie in a stage
// without gaps, because copies to addresses that are no multiples of 128 bytes are a tenth slower;
// lanes of odd rows read the two halves of 64 columns in the other order, so that rows share no
// banks.
//
// x stays in shared memory. (Blocks of a cluster that read a part of it each and hand it to all are
// no faster, and blocks that split the columns must wait for each other at every tile: a third
// slower.)
//
// Sums have one order: a warp's own columns ascending, then the 8 warps.
#include <algorithm>

#include "base/check.h"
#include "worker/cuda/device/async_copy.cuh"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/device/mma.cuh"
#include "worker/cuda/device/named_barrier.cuh"
#include "worker/cuda/device/ring_place.cuh"
#include "worker/cuda/matmul/small_matmul.h"
#include "worker/cuda/rows/gating.cuh"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

constexpr int kWarp = 32;
constexpr int kMultipliers = 8;  // warps
constexpr int kCopiers = 4;      // warps
constexpr int kThreads = (kMultipliers + kCopiers) * kWarp;
constexpr int kTileRows = 16;                          // of w
constexpr int kGateRows = kTileRows / 2;               // of a gated product's tile; as many follow
constexpr int kStep = 32;                              // columns that a warp multiplies at once
constexpr int kSteps = 2;                              // of a warp in a stage
constexpr int kChunk = kMultipliers * kSteps * kStep;  // columns of a stage
constexpr int kRowBytes = kChunk * 2;                  // of a stage
constexpr int kStageBytes = kTileRows * kRowBytes;
constexpr int kStagesMax = 12;
constexpr int kStagesMin = 4;
constexpr int kXChunksMax = 32;
constexpr int kXSkewBytes = 64;          // rows of x 128 i + 64 bytes apart share no banks
constexpr int kPartRow = kTileRows + 4;  // floats: without the 4, lanes would share banks
constexpr int kStaticBytes = 768;        // of the kernel's own shared variables, rounded up
constexpr int kReservedBytes = 1024;     // of every block by CUDA
// Two blocks on an SM hide the end of a tile and of the launch from each other, but have less room
// for w. Measured on an H200: with as much of x as this two are faster, with one tile and with
// more.
constexpr int64_t kXBytesOfTwo = 33 << 10;
constexpr int64_t kXBytesOfTwoLong = 9 << 10;

__host__ __device__ constexpr int XRowBytes(int k) {
  return (k * 2 + 127) / 128 * 128 + kXSkewBytes;
}

// A gated product's tile: rows of the gate, then the rows that they multiply.
__host__ __device__ constexpr int64_t TilesOf(int64_t n, bool gated) {
  return gated ? (n / 2 + kGateRows - 1) / kGateRows : (n + kTileRows - 1) / kTileRows;
}

struct Work {
  const bf16* x;
  const bf16* w;
  const float* bias;
  void* out;
  int m;
  int n;
  int k;
  int stages;
  bool gated;
  bool to_f32;

#if __CUDA_ARCH__ >= 900
  __device__ int Chunks() const { return (k + kChunk - 1) / kChunk; }
  __device__ int Columns(int chunk) const { return min(kChunk, k - chunk * kChunk); }
  __device__ int Tiles() const { return static_cast<int>(TilesOf(n, gated)); }
  // The row of w that is row `i` of a tile; -1: there is none.
  __device__ int Row(int tile, int i) const {
    if (!gated) {
      const int row = tile * kTileRows + i;
      return row < n ? row : -1;
    }
    const int row = tile * kGateRows + i % kGateRows;
    return row < n / 2 ? row + i / kGateRows * (n / 2) : -1;
  }
#endif
};

// Where things are in a block's shared memory.
struct Room {
  uint32_t ring;    // [stages][16][kChunk]
  uint32_t x;       // [m][XRowBytes]
  float* parts;     // [kMultipliers][m rounded up to 8][kPartRow]: the warps' sums of a tile
  uint32_t full;    // barriers [stages]: w has landed
  uint32_t empty;   // barriers [stages]: w has been read
  uint32_t x_full;  // barriers [chunks]: x has landed
};

#if __CUDA_ARCH__ >= 900

__device__ uint4 LoadShared(uint32_t address) {
  uint4 value;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(address));
  return value;
}

// Of the multiplying warps.
__device__ void SyncMultipliers() { NamedBarrier(1, kMultipliers * kWarp); }

// A lane's row of x.
__device__ void CopyX(const Work& work, const Room& room, int row) {
  const bf16* from = work.x + static_cast<int64_t>(row) * work.k;
  const uint32_t to = room.x + row * XRowBytes(work.k);
  for (int chunk = 0; chunk < work.Chunks(); ++chunk) {
    CopyToShared(to + chunk * kRowBytes, from + chunk * kChunk,
                 static_cast<uint32_t>(work.Columns(chunk)) * 2, room.x_full + chunk * 8);
  }
}

// A copying warp: 4 rows of every tile of w, and its rows of x once they exist.
__device__ void Copy(const Work& work, const Room& room) {
  const int lane = threadIdx.x % kWarp;
  const int row = lane * kCopiers + static_cast<int>(threadIdx.x) / kWarp - kMultipliers;
  const bool in_tile = lane < kTileRows / kCopiers;
  const uint64_t policy = ReadOncePolicy();
  int tile = static_cast<int>(blockIdx.x), chunk = 0;
  // Of the next stage's part of w; moves on.
  const auto copy_next = [&](int stage) {
    const uint32_t bytes = static_cast<uint32_t>(work.Columns(chunk)) * 2;
    const int output = in_tile ? work.Row(tile, row) : -1;
    const bool exists = output >= 0;
    const uint32_t barrier = room.full + stage * 8;
    const uint32_t rows = __popc(__ballot_sync(~0u, exists));
    if (lane == 0) ArriveExpecting(barrier, bytes * rows);
    __syncwarp();
    if (exists) {
      CopyToShared(room.ring + stage * kStageBytes + row * kRowBytes,
                   work.w + static_cast<int64_t>(output) * work.k + chunk * kChunk, bytes, barrier,
                   policy);
    }
    if (++chunk == work.Chunks()) {
      chunk = 0;
      tile += static_cast<int>(gridDim.x);
    }
  };
  // w is constant: the first stages need not wait for what the step computes.
  for (int i = 0; i < work.stages && tile < work.Tiles(); ++i) copy_next(i);
  AwaitEarlierKernels();
  if (in_tile && row < work.m) CopyX(work, room, row);
  for (RingPlace place; tile < work.Tiles(); place.Advance(work.stages)) {
    AwaitPhase(room.empty + place.stage * 8, place.phase);
    copy_next(place.stage);
  }
}

// sums := a multiplying warp's columns of one tile. `first`: of the block.
template <int kXTiles>
__device__ void MultiplyTile(const Work& work, const Room& room, bool first, RingPlace& place,
                             float (&sums)[kXTiles][4]) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int group = lane / 4;
  const int begin = warp * kSteps * kStep + lane % 4 * 8;  // the lane's first column in a chunk
  const bool odd = group % 2 != 0;
  uint32_t x_row[kXTiles];
#pragma unroll
  for (int t = 0; t < kXTiles; ++t) {
    x_row[t] = room.x + min(t * 8 + group, work.m - 1) * XRowBytes(work.k);
  }
  float halves[kSteps][kXTiles][4] = {};
  for (int chunk = 0; chunk < work.Chunks(); ++chunk) {
    const int columns = work.Columns(chunk);
    const uint32_t w_row = room.ring + place.stage * kStageBytes + group * kRowBytes;
    uint4 low[kSteps], high[kSteps], x[kSteps][kXTiles];
    if (first) AwaitPhase(room.x_full + chunk * 8, 0);
    AwaitPhase(room.full + place.stage * 8, place.phase);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const int w_column = begin + ((i == 1) == odd ? 0 : kStep);
      const int x_column = begin + i * kStep;
      const uint4 zero = make_uint4(0, 0, 0, 0);  // what a stage held before is no number
      low[i] = w_column < columns ? LoadShared(w_row + w_column * 2) : zero;
      high[i] = w_column < columns ? LoadShared(w_row + 8 * kRowBytes + w_column * 2) : zero;
#pragma unroll
      for (int t = 0; t < kXTiles; ++t) {
        x[i][t] =
            x_column < columns ? LoadShared(x_row[t] + chunk * kRowBytes + x_column * 2) : zero;
      }
    }
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const uint4 a = odd ? low[1 - i] : low[i], b = odd ? high[1 - i] : high[i];
#pragma unroll
      for (int t = 0; t < kXTiles; ++t) {
        MultiplyAdd(halves[i][t], a.x, b.x, a.y, b.y, x[i][t].x, x[i][t].y);
        MultiplyAdd(halves[i][t], a.z, b.z, a.w, b.w, x[i][t].z, x[i][t].w);
      }
    }
    Arrive(room.empty + place.stage * 8);  // each lane for itself: racecheck can follow that
    place.Advance(work.stages);
  }
#pragma unroll
  for (int t = 0; t < kXTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) sums[t][i] = halves[0][t][i] + halves[1][t][i];
  }
}

// The sum over the warps of output threadIdx.x % 16 of the tile, row threadIdx.x / 16 of x.
template <int kXTiles>
__device__ float SumOverWarps(const Room& room, const float (&sums)[kXTiles][4]) {
  constexpr int kPart = kXTiles * 8 * kPartRow;  // floats of a warp
  const int lane = threadIdx.x % kWarp;
  float* part = room.parts + threadIdx.x / kWarp * kPart + lane / 4;
  SyncMultipliers();  // the tile before has been read
#pragma unroll
  for (int t = 0; t < kXTiles; ++t) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      part[(t * 8 + lane % 4 * 2 + i % 2) * kPartRow + i / 2 * 8] = sums[t][i];
    }
  }
  SyncMultipliers();
  float sum = 0.0f;
  const int x_row = threadIdx.x / kTileRows;
  if (x_row < kXTiles * 8) {
    const float* at = room.parts + x_row * kPartRow + threadIdx.x % kTileRows;
#pragma unroll
    for (int i = 0; i < kMultipliers; ++i) sum += at[i * kPart];
  }
  return sum;
}

// Writes output `row` of row x_row of x, of a tile; in every thread, because a gate's other factor
// is a lane's 8 further on.
__device__ void Finish(const Work& work, int tile, int x_row, int row, float sum) {
  const bool exists = x_row < work.m && row >= 0;
  if (work.gated) {
    const float up = __shfl_down_sync(~0u, sum, kGateRows);
    const int i = static_cast<int>(threadIdx.x) % kTileRows;
    if (!exists || i >= kGateRows) return;
    static_cast<bf16*>(
        work.out)[static_cast<int64_t>(x_row) * (work.n / 2) + tile * kGateRows + i] =
        __float2bfloat16(SiluMulOfSums(sum, up));
    return;
  }
  if (!exists) return;
  const int64_t at = static_cast<int64_t>(x_row) * work.n + row;
  if (work.to_f32) {
    static_cast<float*>(work.out)[at] = sum;
  } else {
    static_cast<bf16*>(work.out)[at] = __float2bfloat16(sum);
  }
}

template <int kXTiles>
__device__ void Multiply(const Work& work, const Room& room) {
  RingPlace place;
  const int first = static_cast<int>(blockIdx.x);
  const int x_row = threadIdx.x / kTileRows;
  for (int tile = first; tile < work.Tiles(); tile += static_cast<int>(gridDim.x)) {
    const int row = work.Row(tile, static_cast<int>(threadIdx.x) % kTileRows);
    const bool exists = x_row < work.m && row >= 0;
    const float bias = exists && work.bias != nullptr ? work.bias[row] : 0.0f;
    float sums[kXTiles][4];
    MultiplyTile<kXTiles>(work, room, tile == first, place, sums);
    const float sum = SumOverWarps<kXTiles>(room, sums);
    Finish(work, tile, x_row, row, sum + bias);
  }
}

#endif

// REQUIRES: a tile for every block.
template <int kXTiles>
__global__ void __launch_bounds__(kThreads, 2) SmallMatMulKernel(const Work work) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ uint64_t full[kStagesMax], empty[kStagesMax], x_full[kXChunksMax];
  uint8_t* x = shared + work.stages * kStageBytes;
  const Room room = {SharedAddress(shared),
                     SharedAddress(x),
                     reinterpret_cast<float*>(x + work.m * XRowBytes(work.k)),
                     SharedAddress(full),
                     SharedAddress(empty),
                     SharedAddress(x_full)};
  LetNextKernelStart();
  if (threadIdx.x == 0) {
    for (int i = 0; i < work.stages; ++i) {
      InitBarrier(room.full + i * 8, kCopiers);
      InitBarrier(room.empty + i * 8, kMultipliers * kWarp);
    }
    for (int i = 0; i < work.Chunks(); ++i) InitBarrier(room.x_full + i * 8, 1);
    PublishBarriers();
    for (int i = 0; i < work.Chunks(); ++i) {
      ArriveExpecting(room.x_full + i * 8, static_cast<uint32_t>(work.m * work.Columns(i) * 2));
    }
  }
  __syncthreads();
  if (threadIdx.x / kWarp >= kMultipliers) {
    Copy(work, room);
  } else {
    AwaitEarlierKernels();
    Multiply<kXTiles>(work, room);
  }
#endif
}

using Kernel = void (*)(Work);

Kernel KernelFor(int64_t m) { return m <= 8 ? SmallMatMulKernel<1> : SmallMatMulKernel<2>; }

}  // namespace

SmallMatMul::SmallMatMul() {
  int device = 0, shared_bytes = 0;
  if (ComputeCapabilityMajor() != 9 || cudaGetDevice(&device) != cudaSuccess) return;
  cudaDeviceGetAttribute(&sms_, cudaDevAttrMultiProcessorCount, device);
  cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  shared_bytes_max_ = shared_bytes - kStaticBytes;
  for (const int64_t m : {8, 16}) {
    if (cudaFuncSetAttribute(KernelFor(m), cudaFuncAttributeMaxDynamicSharedMemorySize,
                             static_cast<int>(shared_bytes_max_)) != cudaSuccess) {
      cudaGetLastError();
      return;
    }
  }
  capable_ = true;
}

std::optional<SmallMatMul::Plan> SmallMatMul::PlanOf(const MatMulCall& call,
                                                     int blocks_per_sm) const {
  if (call.k > kXChunksMax * kChunk || call.k <= 0) return std::nullopt;
  Plan plan;
  const int64_t tiles = TilesOf(call.n, call.gated);
  plan.blocks = static_cast<int>(std::min<int64_t>(tiles, sms_ * blocks_per_sm));
  const int64_t parts = kMultipliers * (call.m <= 8 ? 8 : 16) * kPartRow * 4;
  const int64_t fixed = call.m * XRowBytes(static_cast<int>(call.k)) + parts;
  const int64_t per_block = kStaticBytes + kReservedBytes;
  const int64_t room = (shared_bytes_max_ + per_block) / blocks_per_sm - per_block - fixed;
  plan.stages = static_cast<int>(std::min<int64_t>(room / kStageBytes, kStagesMax));
  if (plan.stages < kStagesMin) return std::nullopt;
  plan.shared_bytes = fixed + plan.stages * kStageBytes;
  return plan;
}

std::optional<SmallMatMul::Plan> SmallMatMul::Choose(const MatMulCall& call) const {
  if (!capable_ || call.m > kRowsMax || call.k % 8 != 0 || call.n > (int64_t{1} << 30)) {
    return std::nullopt;
  }
  const int64_t x_bytes = call.m * call.k * 2;
  const bool one_tile = TilesOf(call.n, call.gated) <= 2 * sms_;
  if (x_bytes <= (one_tile ? kXBytesOfTwo : kXBytesOfTwoLong)) {
    if (const auto plan = PlanOf(call, 2)) return plan;
  }
  return PlanOf(call, 1);
}

bool SmallMatMul::Run(const MatMulCall& call, cudaStream_t stream) const {
  if (call.m == 0 || call.n == 0) return true;
  const std::optional<Plan> plan = Choose(call);
  if (plan) Run(call, *plan, stream);
  return plan.has_value();
}

void SmallMatMul::Run(const MatMulCall& call, const Plan& plan, cudaStream_t stream) const {
  CHECK(1 <= call.m && call.m <= kRowsMax && call.k % 8 == 0) << "a small product";
  CHECK(!call.gated || (call.out_dtype == DType::kBF16 && call.n % 2 == 0)) << "a gated product";
  Work work = {};
  work.x = call.x;
  work.w = call.w;
  work.bias = call.bias;
  work.out = call.out;
  work.m = static_cast<int>(call.m);
  work.n = static_cast<int>(call.n);
  work.k = static_cast<int>(call.k);
  work.stages = plan.stages;
  work.gated = call.gated;
  work.to_f32 = call.out_dtype == DType::kF32;
  LaunchOverlapping(KernelFor(call.m), static_cast<unsigned>(plan.blocks), kThreads,
                    static_cast<size_t>(plan.shared_bytes), stream, work);
}

}  // namespace headgate
