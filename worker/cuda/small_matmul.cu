// One warp of a block copies w, 16 rows by some columns at a time, into a ring of stages in shared
// memory; eight warps multiply. w is the A operand of the tensor cores (16 x 16), x the B operand
// (16 x 8): rows of x that do not exist cost nothing. In every 32 columns the lanes take the
// columns in another order than the instruction numbers them, the same for w and x: a lane's 8
// values are then 16 bytes side by side. A block keeps its columns of x; it gets them with its
// first 16 rows of w.
//
// Sums have one order: a warp's own columns ascending, the 8 warps, the blocks of the cluster.
#include <algorithm>

#include "base/check.h"
#include "worker/cuda/async_copy.cuh"
#include "worker/cuda/launch.cuh"
#include "worker/cuda/small_matmul.h"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

constexpr int kWarp = 32;
constexpr int kMultipliers = 8;  // warps
constexpr int kThreads = (kMultipliers + 1) * kWarp;
constexpr int kTileRows = 16;  // of w
constexpr int kStep = 32;      // columns that a warp multiplies at once
constexpr int kChunk = 512;    // columns of a stage, at most
constexpr int kSteps = kChunk / kStep / kMultipliers;
constexpr int kStagesMax = 16;
constexpr int kSkew = 64;  // bytes: rows 128 i + 64 bytes apart share no banks
constexpr int kStageRowBytes = kChunk * 2 + kSkew;
constexpr int kStageBytes = kTileRows * kStageRowBytes;
constexpr int kPartRow = kTileRows + 4;  // floats: without the 4, lanes would share banks
constexpr int kStaticBytes = 512;        // of the kernel's own shared variables, rounded up
constexpr int kReservedBytes = 1024;     // of every block by CUDA

__host__ __device__ constexpr int64_t RoundUp(int64_t value, int64_t unit) {
  return (value + unit - 1) / unit * unit;
}

__host__ __device__ constexpr int64_t XRowBytes(int64_t slice) {
  return RoundUp(slice * 2, 128) + kSkew;
}

struct Work {
  const bf16* x;
  const bf16* w;
  const float* bias;
  void* out;
  int m;
  int n;
  int k;
  int cluster;
  int slice;  // columns of a block
  int chunk;  // columns of a stage
  int stages;
};

__device__ uint4 LoadShared(uint32_t address) {
  uint4 value;
  asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
               : "=r"(value.x), "=r"(value.y), "=r"(value.z), "=r"(value.w)
               : "r"(address));
  return value;
}

// sums += A (rows g and g + 8 of w) times B (row g of x), 16 columns.
__device__ void Multiply(float (&sums)[4], uint32_t low0, uint32_t high0, uint32_t low1,
                         uint32_t high1, uint32_t x0, uint32_t x1) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, "
      "{%8, %9}, {%0, %1, %2, %3};"
      : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
      : "r"(low0), "r"(high0), "r"(low1), "r"(high1), "r"(x0), "r"(x1));
}

// Of the multiplying warps.
__device__ void SyncMultipliers() {
  asm volatile("bar.sync 1, %0;" ::"n"(kMultipliers * kWarp) : "memory");
}

__device__ void Store(float* to, float value) { *to = value; }
__device__ void Store(bf16* to, float value) { *to = __float2bfloat16(value); }

#if __CUDA_ARCH__ >= 900

// Where a block stands in the ring of stages.
struct RingPlace {
  int stage = 0;
  uint32_t phase = 0;
  __device__ void Advance(int stages) {
    if (++stage == stages) {
      stage = 0;
      phase ^= 1;
    }
  }
};

// A block's share of the columns, and its cluster's of the rows: tiles `first`, `first + step`, ...
struct Share {
  int begin;
  int end;
  int chunks;
  int first;
  int step;
  int tiles;  // of w in all

  __device__ Share(const Work& work, int rank) {
    begin = min(work.k, rank * work.slice);
    end = min(work.k, begin + work.slice);
    chunks = (end - begin + work.chunk - 1) / work.chunk;
    tiles = (work.n + kTileRows - 1) / kTileRows;
    first = static_cast<int>(blockIdx.x) / work.cluster;
    step = static_cast<int>(gridDim.x) / work.cluster;
  }
  __device__ int Columns(const Work& work, int chunk) const {
    return min(work.chunk, end - begin - chunk * work.chunk);
  }
  __device__ int Rounds() const { return first < tiles ? (tiles - first + step - 1) / step : 0; }
};

// The copying warp. Lane i copies row i of a tile and, the first time over, row i of x.
__device__ void CopyRing(const Work& work, const Share& share, uint32_t ring, uint32_t x,
                         uint32_t full, uint32_t empty) {
  const int lane = threadIdx.x % kWarp;
  const uint64_t policy = ReadOncePolicy();
  const uint32_t x_row_bytes = static_cast<uint32_t>(XRowBytes(work.slice));
  const auto copy_w = [&](int round, int chunk, int stage) {
    const int row = (share.first + round * share.step) * kTileRows;
    const int rows = min(kTileRows, work.n - row);
    const uint32_t bytes = static_cast<uint32_t>(share.Columns(work, chunk)) * 2;
    const uint32_t barrier = full + stage * 8;
    if (lane == 0) ArriveExpecting(barrier, bytes * (round == 0 ? rows + work.m : rows));
    __syncwarp();
    if (lane < rows) {
      CopyToShared(
          ring + stage * kStageBytes + lane * kStageRowBytes,
          work.w + static_cast<int64_t>(row + lane) * work.k + share.begin + chunk * work.chunk,
          bytes, barrier, policy);
    }
  };
  const auto copy_x = [&](int chunk, int stage) {
    if (lane < work.m) {
      CopyToShared(x + lane * x_row_bytes + chunk * work.chunk * 2,
                   work.x + static_cast<int64_t>(lane) * work.k + share.begin + chunk * work.chunk,
                   static_cast<uint32_t>(share.Columns(work, chunk)) * 2, full + stage * 8);
    }
  };

  const int total = share.Rounds() * share.chunks;
  const int ahead = min(total, work.stages);  // w is constant: these need not wait
  for (int i = 0; i < ahead; ++i) copy_w(i / share.chunks, i % share.chunks, i);
  AwaitEarlierKernels();
  for (int i = 0; i < min(ahead, share.chunks); ++i) copy_x(i, i);
  RingPlace place{0, 0};
  for (int i = ahead; i < total; ++i) {
    AwaitPhase(empty + place.stage * 8, place.phase);
    const int round = i / share.chunks, chunk = i % share.chunks;
    copy_w(round, chunk, place.stage);
    if (round == 0) copy_x(chunk, place.stage);
    place.Advance(work.stages);
  }
}

// sums := this warp's columns of one tile.
template <int kXTiles>
__device__ void MultiplyTile(const Work& work, const Share& share, RingPlace& place, uint32_t ring,
                             uint32_t x, uint32_t full, uint32_t empty, float (&sums)[kXTiles][4]) {
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int group = lane / 4, place_in_step = lane % 4 * 8;
  const uint32_t x_row_bytes = static_cast<uint32_t>(XRowBytes(work.slice));
  for (int chunk = 0; chunk < share.chunks; ++chunk) {
    const int columns = share.Columns(work, chunk);
    const uint32_t stage = ring + place.stage * kStageBytes + group * kStageRowBytes;
    uint4 low[kSteps], high[kSteps], of_x[kSteps][kXTiles];
    AwaitPhase(full + place.stage * 8, place.phase);
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
      const int column = (warp + i * kMultipliers) * kStep + place_in_step;
      const bool exists = column < columns;  // what a stage held before is not a number to multiply
      const uint4 zero = make_uint4(0, 0, 0, 0);
      low[i] = exists ? LoadShared(stage + column * 2) : zero;
      high[i] = exists ? LoadShared(stage + 8 * kStageRowBytes + column * 2) : zero;
#pragma unroll
      for (int t = 0; t < kXTiles; ++t) {
        const int row = min(t * 8 + group, work.m - 1);
        of_x[i][t] =
            exists ? LoadShared(x + row * x_row_bytes + (chunk * work.chunk + column) * 2) : zero;
      }
    }
#pragma unroll
    for (int i = 0; i < kSteps; ++i) {
#pragma unroll
      for (int t = 0; t < kXTiles; ++t) {
        Multiply(sums[t], low[i].x, high[i].x, low[i].y, high[i].y, of_x[i][t].x, of_x[i][t].y);
        Multiply(sums[t], low[i].z, high[i].z, low[i].w, high[i].w, of_x[i][t].z, of_x[i][t].w);
      }
    }
    __syncwarp();
    if (lane == 0) Arrive(empty + place.stage * 8);
    place.Advance(work.stages);
  }
}

// The multiplying warps. Blocks of a cluster take turns to add up a tile: the sums for one lie in
// `gathered` [cluster][256]. A block writes there again `cluster` tiles later; by then it has been
// through a tile of its own, for which the other block, in order too, was needed.
template <int kXTiles, typename Out>
__device__ void MultiplyRing(const Work& work, const Share& share, int rank, uint32_t ring,
                             uint32_t x, float* parts, float* gathered, uint32_t full,
                             uint32_t empty, uint32_t arrived) {
  constexpr int kPart = kXTiles * 8 * kPartRow;  // floats of a warp
  const int warp = threadIdx.x / kWarp, lane = threadIdx.x % kWarp;
  const int row = threadIdx.x % kTileRows, x_row = threadIdx.x / kTileRows;  // of the tile's sums
  RingPlace place;
  uint32_t arrived_phase = 0;
  AwaitEarlierKernels();
  for (int round = 0; round < share.Rounds(); ++round) {
    const int output = (share.first + round * share.step) * kTileRows + row;
    const int owner = round % work.cluster;
    const bool mine = owner == rank && x_row < work.m && output < work.n;
    const float bias = mine && work.bias != nullptr ? work.bias[output] : 0.0f;
    float sums[kXTiles][4] = {};
    MultiplyTile<kXTiles>(work, share, place, ring, x, full, empty, sums);
    float* part = parts + warp * kPart + lane / 4;
#pragma unroll
    for (int t = 0; t < kXTiles; ++t) {
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        part[(t * 8 + lane % 4 * 2 + i % 2) * kPartRow + i / 2 * 8] = sums[t][i];
      }
    }
    SyncMultipliers();
    float sum = 0.0f;
    if (x_row < work.m) {
#pragma unroll
      for (int i = 0; i < kMultipliers; ++i) sum += parts[i * kPart + x_row * kPartRow + row];
    }
    SyncMultipliers();
    if (work.cluster > 1) {
      if (x_row < work.m) {
        StoreInCluster(
            InBlock(SharedAddress(gathered + rank * kMultipliers * kWarp + threadIdx.x), owner),
            sum);
      }
      __syncwarp();
      if (lane == 0) ArriveInCluster(InBlock(arrived, owner));
      if (owner != rank) continue;
      AwaitClusterPhase(arrived, arrived_phase);
      arrived_phase ^= 1;
      sum = 0.0f;
      for (int i = 0; i < work.cluster; ++i)
        sum += gathered[i * kMultipliers * kWarp + threadIdx.x];
    }
    if (mine) {
      Store(static_cast<Out*>(work.out) + static_cast<int64_t>(x_row) * work.n + output,
            sum + bias);
    }
  }
}

#endif

template <int kXTiles, typename Out>
__global__ void __launch_bounds__(kThreads, 2) SmallMatMulKernel(const Work work) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) uint8_t shared[];
  __shared__ uint64_t full[kStagesMax], empty[kStagesMax], arrived;
  uint8_t* x = shared + work.stages * kStageBytes;
  float* parts = reinterpret_cast<float*>(x + work.m * XRowBytes(work.slice));
  float* gathered = parts + kMultipliers * kXTiles * 8 * kPartRow;
  const int rank = work.cluster > 1 ? static_cast<int>(ClusterRank()) : 0;
  const Share share(work, rank);
  if (threadIdx.x == 0) {
    for (int i = 0; i < work.stages; ++i) {
      InitBarrier(SharedAddress(full + i), 1);
      InitBarrier(SharedAddress(empty + i), kMultipliers);
    }
    InitBarrier(SharedAddress(&arrived), work.cluster * kMultipliers);
    PublishBarriers();
  }
  LetNextKernelStart();
  if (work.cluster > 1) {
    SyncCluster();
  } else {
    __syncthreads();
  }
  if (threadIdx.x / kWarp == kMultipliers) {
    CopyRing(work, share, SharedAddress(shared), SharedAddress(x), SharedAddress(full),
             SharedAddress(empty));
  } else {
    MultiplyRing<kXTiles, Out>(work, share, rank, SharedAddress(shared), SharedAddress(x), parts,
                               gathered, SharedAddress(full), SharedAddress(empty),
                               SharedAddress(&arrived));
  }
  if (work.cluster > 1) {
    __syncwarp();
    SyncCluster();  // others may still write here
  }
#endif
}

using Kernel = void (*)(Work);

Kernel KernelFor(int64_t m, DType out) {
  if (out == DType::kF32) {
    return m <= 8 ? SmallMatMulKernel<1, float> : SmallMatMulKernel<2, float>;
  }
  return m <= 8 ? SmallMatMulKernel<1, bf16> : SmallMatMulKernel<2, bf16>;
}

// Beside the ring: x, the warps' sums, the cluster's sums.
int64_t FixedBytes(int64_t m, int64_t slice, int cluster) {
  const int64_t x_tiles = m <= 8 ? 1 : 2;
  const int64_t sums =
      kMultipliers * x_tiles * 8 * kPartRow + (cluster > 1 ? cluster * kMultipliers * kWarp : 0);
  return m * XRowBytes(slice) + sums * 4;
}

}  // namespace

SmallMatMul::SmallMatMul() {
  int device = 0, major = 0, shared_bytes = 0;
  if (cudaGetDevice(&device) != cudaSuccess) return;
  cudaDeviceGetAttribute(&major, cudaDevAttrComputeCapabilityMajor, device);
  cudaDeviceGetAttribute(&sms_, cudaDevAttrMultiProcessorCount, device);
  cudaDeviceGetAttribute(&shared_bytes, cudaDevAttrMaxSharedMemoryPerBlockOptin, device);
  shared_bytes_max_ = shared_bytes - kStaticBytes;
  if (major != 9) return;
  for (const DType out : {DType::kBF16, DType::kF32}) {
    for (const int64_t m : {8, 16}) {
      const Kernel kernel = KernelFor(m, out);
      if (cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shared_bytes_max_)) != cudaSuccess) {
        cudaGetLastError();
        return;
      }
    }
  }
  clusters_max_[0] = sms_;
  for (size_t i = 1; i < clusters_max_.size(); ++i) {
    cudaLaunchAttribute attribute = {};
    attribute.id = cudaLaunchAttributeClusterDimension;
    attribute.val.clusterDim.x = 1u << i;
    attribute.val.clusterDim.y = attribute.val.clusterDim.z = 1;
    cudaLaunchConfig_t config = {};
    config.gridDim = dim3(static_cast<unsigned>(sms_) >> i << i);
    config.blockDim = dim3(kThreads);
    config.dynamicSmemBytes = static_cast<size_t>(shared_bytes_max_);  // one block on an SM
    config.attrs = &attribute;
    config.numAttrs = 1;
    if (cudaOccupancyMaxActiveClusters(&clusters_max_[i], KernelFor(16, DType::kF32), &config) !=
        cudaSuccess) {
      cudaGetLastError();
      clusters_max_[i] = 0;
    }
  }
  capable_ = true;
}

std::optional<SmallMatMul::Plan> SmallMatMul::PlanOf(const MatMulCall& call, int cluster,
                                                     int blocks_per_sm,
                                                     int64_t shared_bytes_max) const {
  const int log = cluster == 1 ? 0 : cluster == 2 ? 1 : cluster == 4 ? 2 : 3;
  Plan plan;
  plan.cluster = cluster;
  plan.slice = RoundUp((call.k + cluster - 1) / cluster, 64);
  const int64_t chunks = (plan.slice + kChunk - 1) / kChunk;
  plan.chunk = RoundUp((plan.slice + chunks - 1) / chunks, 64);
  const int64_t tiles = (call.n + kTileRows - 1) / kTileRows;
  const int64_t clusters = std::min<int64_t>(tiles, clusters_max_[log] * blocks_per_sm);
  plan.blocks = static_cast<int>(clusters * cluster);
  const int64_t fixed = FixedBytes(call.m, plan.slice, cluster);
  const int64_t room = std::min(shared_bytes_max, shared_bytes_max_) - fixed;
  plan.stages = static_cast<int>(std::min<int64_t>(room / kStageBytes, kStagesMax));
  plan.shared_bytes = fixed + plan.stages * kStageBytes;
  if (plan.blocks == 0 || room < 2 * kStageBytes) return std::nullopt;
  return plan;
}

SmallMatMul::Plan SmallMatMul::Choose(const MatMulCall& call) const {
  const int64_t half =
      (shared_bytes_max_ + kStaticBytes + kReservedBytes) / 2 - kReservedBytes - kStaticBytes;
  for (const int cluster : {1, 2, 4, 8}) {
    if (16 * XRowBytes(call.k / cluster) > int64_t{36} << 10 && cluster < 8) continue;
    if (const auto plan = PlanOf(call, cluster, 1, half)) return *plan;
  }
  return PlanOf(call, 8, 1, shared_bytes_max_).value();
}

bool SmallMatMul::Applies(const MatMulCall& call) const {
  return capable_ && call.m <= kRowsMax && call.k % 8 == 0 && call.k > 0 &&
         call.n <= (int64_t{1} << 30) &&
         PlanOf({.m = kRowsMax, .n = call.n, .k = call.k}, 8, 1, shared_bytes_max_).has_value();
}

void SmallMatMul::Run(const MatMulCall& call, cudaStream_t stream) const {
  if (call.m == 0 || call.n == 0) return;
  Run(call, Choose(call), stream);
}

void SmallMatMul::Run(const MatMulCall& call, const Plan& plan, cudaStream_t stream) const {
  CHECK(1 <= call.m && call.m <= kRowsMax && call.k % 8 == 0) << "a small product";
  const Work work = {call.x,
                     call.w,
                     call.bias,
                     call.out,
                     static_cast<int>(call.m),
                     static_cast<int>(call.n),
                     static_cast<int>(call.k),
                     plan.cluster,
                     static_cast<int>(plan.slice),
                     static_cast<int>(plan.chunk),
                     plan.stages};
  LaunchOverlapping(KernelFor(call.m, call.out_dtype), static_cast<unsigned>(plan.blocks), kThreads,
                    static_cast<size_t>(plan.shared_bytes),
                    plan.cluster > 1 ? static_cast<unsigned>(plan.cluster) : 0, stream, work);
}

}  // namespace headgate
