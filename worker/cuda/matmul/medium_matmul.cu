// A warp copies w and x, 64 columns at a time, into a ring of stages; two warpgroups multiply
// (wgmma: 64 rows of w by all rows of x). A block has one tile of outputs, as large as it takes
// that one wave of blocks has all of w: so x, which every block reads, is little beside w. Where
// there are too few outputs for that, the blocks of a cluster share a tile and have a part of the
// columns each; their sums meet in shared memory, added in the order of the columns.
//
// w is constant: its first stages are on their way before the kernels ahead of this one have ended.
#include <algorithm>
#include <iterator>

#include "base/check.h"
#include "worker/cuda/device/async_copy.cuh"
#include "worker/cuda/device/cluster.cuh"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/device/named_barrier.cuh"
#include "worker/cuda/device/ring_place.cuh"
#include "worker/cuda/device/tensor_map.h"
#include "worker/cuda/device/wgmma.cuh"
#include "worker/cuda/matmul/medium_matmul.h"
#include "worker/cuda/rows/gating.cuh"
#include "worker/cuda/rows/row_vector.cuh"

namespace headgate {
namespace {

using bf16 = __nv_bfloat16;

constexpr int kGroup = 128;               // threads of a warpgroup
constexpr int kMultipliers = 2 * kGroup;  // threads
constexpr int kThreads = kMultipliers + 32;
constexpr int kMmaRows = 64;            // of w in one instruction
constexpr int kColumns = kSwizzleCols;  // of a stage
constexpr int kTileRowsMax = 4 * kMmaRows;
constexpr int kStagesMax = 16;
constexpr int kOutputs = 8;  // that a thread finishes at once
constexpr int64_t kLongChunks = 60;
// A multiprocessor has 228 KB, of which CUDA reserves 1 for every block: a block of the norm after
// the product (row_ops.cu) may wait beside it, and does not keep the next product's from beginning.
constexpr int64_t kSharedBytes = 225 << 10;

struct Work {
  CUtensorMap w;
  CUtensorMap x;
  const float* bias;
  void* out;
  int m;
  int n;
  int chunks;  // of kColumns
  int tile_rows;
  int cluster;
  int stages;
  bool gated;
  bool to_f32;

#if __CUDA_ARCH__ >= 900
  // A tile has two halves: of a gated product the gate's rows and those that they multiply.
  __device__ int Half() const { return tile_rows / 2; }
  __device__ int First(int tile) const { return tile * (gated ? Half() : tile_rows); }
  __device__ int Second(int tile) const { return First(tile) + (gated ? n / 2 : Half()); }
  __device__ int Outputs() const { return gated ? n / 2 : n; }
#endif
};

#if __CUDA_ARCH__ >= 900

// Of a block's sums, in floats. Lanes would share banks without the 4.
__device__ constexpr int SumStride(int tile_rows) { return tile_rows + 4; }

// The stages in shared memory, rows of w and then those of x, and where a thread stands in them.
struct Ring {
  uint32_t at;
  int stage_bytes;
  int stages;
  uint32_t full;   // barriers [stages]
  uint32_t empty;  // barriers [stages]
  RingPlace place = {};

  __device__ uint32_t At() const { return at + place.stage * stage_bytes; }
  __device__ uint32_t Full() const { return full + place.stage * 8; }
  __device__ uint32_t Empty() const { return empty + place.stage * 8; }
  __device__ void Advance() { place.Advance(stages); }
};

// The block's place in its product.
struct Part {
  int tile;
  int rank;   // in the cluster
  int begin;  // chunk
  int count;  // of chunks
};

// One thread.
__device__ void Copy(const Work& work, const Part& part, Ring ring) {
  const uint64_t once = ReadOncePolicy(), often = ReadOftenPolicy();
  const uint32_t w_bytes = work.tile_rows * kSwizzleRowBytes;
  const auto copy_w = [&](int i) {
    const int column = (part.begin + i) * kColumns;
    ArriveExpecting(ring.Full(), static_cast<uint32_t>(ring.stage_bytes));
    CopyBox(work.w, ring.At(), column, work.First(part.tile), ring.Full(), once);
    CopyBox(work.w, ring.At() + w_bytes / 2, column, work.Second(part.tile), ring.Full(), once);
  };
  const auto copy_x = [&](int i) {
    CopyBox(work.x, ring.At() + w_bytes, (part.begin + i) * kColumns, 0, ring.Full(), often);
  };
  const int early = min(part.count, ring.stages);
  const Ring first = ring;
  for (int i = 0; i < early; ++i, ring.Advance()) copy_w(i);
  AwaitEarlierKernels();
  ring = first;
  for (int i = 0; i < early; ++i, ring.Advance()) copy_x(i);
  for (int i = early; i < part.count; ++i, ring.Advance()) {
    AwaitPhase(ring.Empty(), ring.place.phase ^ 1);
    copy_w(i);
    copy_x(i);
  }
}

// d := a warpgroup's rows of the tile by all rows of x: rows 64 (group + 2 t) on.
template <int kX, int kTiles>
__device__ void Multiply(Ring ring, int group, int count, float (&d)[kTiles][kX / 2]) {
  constexpr uint32_t kTileBytes = kMmaRows * kSwizzleRowBytes;
  const bool leads = threadIdx.x % kGroup == 0;
  const int w_bytes = ring.stage_bytes - kX * kSwizzleRowBytes;
  uint32_t read = 0;  // the barrier of the stage before
  for (int i = 0; i < count; ++i, ring.Advance()) {
    AwaitPhase(ring.Full(), ring.place.phase);
    const uint64_t x = SmemDescriptor(ring.At() + w_bytes, 16, kSwizzleBlockBytes);
    const uint64_t w = SmemDescriptor(ring.At() + group * kTileBytes, 16, kSwizzleBlockBytes);
    WgmmaBegin();
#pragma unroll
    for (int step = 0; step < kColumns / 16; ++step) {
#pragma unroll
      for (int t = 0; t < kTiles; ++t) {  // addresses in descriptors count 16 bytes
        WgmmaShared(d[t], w + (2 * t * kTileBytes + step * 32) / 16, x + step * 2,
                    i > 0 || step > 0);
      }
    }
    WgmmaCommit();
    WgmmaWait<1>();
    if (i > 0 && leads) Arrive(read);
    read = ring.Empty();
  }
  WgmmaWait<0>();
#pragma unroll
  for (int t = 0; t < kTiles; ++t) AfterWait(d[t]);
}

// The block's sums to shared memory, [rows of x][SumStride].
template <int kX, int kTiles>
__device__ void Keep(const Work& work, float* sums, int group, const float (&d)[kTiles][kX / 2]) {
  const int lane = threadIdx.x % 32, warp = threadIdx.x % kGroup / 32;
  const int stride = SumStride(work.tile_rows);
#pragma unroll
  for (int t = 0; t < kTiles; ++t) {
    const int first = (group + 2 * t) * kMmaRows + warp * 16 + lane / 4;
#pragma unroll
    for (int i = 0; i < kX / 2; ++i) {
      const int row = first + i / 2 % 2 * 8;
      const int x_row = i / 4 * 8 + lane % 4 * 2 + i % 2;
      if (row < work.tile_rows) sums[x_row * stride + row] = d[t][i];
    }
  }
}

// Outputs of row x_row of x from `row` of the tile on, of w from `w_row` on: what the cluster's
// blocks have.
__device__ Values<kOutputs> SumOverBlocks(const Work& work, uint32_t sums, int x_row, int row,
                                          int w_row) {
  Values<kOutputs> sum = {};
  const uint32_t at = sums + (x_row * SumStride(work.tile_rows) + row) * 4;
  for (int block = 0; block < work.cluster; ++block) {
    const float4 low = LoadOfBlock(at, block), high = LoadOfBlock(at + 16, block);
    const float values[] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
#pragma unroll
    for (int i = 0; i < kOutputs; ++i) sum.at[i] += values[i];
  }
  if (work.bias == nullptr) return sum;
#pragma unroll
  for (int i = 0; i < kOutputs; ++i) sum.at[i] += work.bias[w_row + i];
  return sum;
}

// Rows of x in turn.
__device__ void Finish(const Work& work, const Part& part, uint32_t sums) {
  const int pieces = (work.gated ? work.Half() : work.tile_rows) / kOutputs;
  const int rows = (work.m - part.rank + work.cluster - 1) / work.cluster;
  for (int i = static_cast<int>(threadIdx.x); i < rows * pieces; i += kMultipliers) {
    const int x_row = i / pieces * work.cluster + part.rank, row = i % pieces * kOutputs;
    const int output = work.First(part.tile) + row;
    if (output >= work.Outputs()) continue;
    const int64_t at = static_cast<int64_t>(x_row) * work.Outputs() + output;
    Values<kOutputs> values = SumOverBlocks(work, sums, x_row, row, output);
    if (work.gated) {
      const auto ups = SumOverBlocks(work, sums, x_row, row + work.Half(), output + work.n / 2);
#pragma unroll
      for (int j = 0; j < kOutputs; ++j) {
        values.at[j] = SiluMulOfSums(values.at[j], ups.at[j]);
      }
    }
    if (work.to_f32) {
      Store(static_cast<float*>(work.out) + at, values);
    } else {
      Store(static_cast<bf16*>(work.out) + at, values);
    }
  }
}

#endif

// kX: rows of x, rounded up. kTiles: of 64 rows of w, of a warpgroup.
template <int kX, int kTiles>
__global__ void __launch_bounds__(kThreads, 1)
    MediumMatMulKernel(const __grid_constant__ Work work) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ uint8_t shared[];
  __shared__ uint64_t full[kStagesMax], empty[kStagesMax];
  LetNextKernelStart();
  uint8_t* room = shared + (-SharedAddress(shared) & (kSwizzleBlockBytes - 1));
  const Ring ring = {SharedAddress(room), (work.tile_rows + kX) * kSwizzleRowBytes, work.stages,
                     SharedAddress(full), SharedAddress(empty)};
  Part part;
  part.tile = static_cast<int>(blockIdx.x) / work.cluster;
  part.rank = static_cast<int>(blockIdx.x) % work.cluster;
  part.begin = work.chunks * part.rank / work.cluster;
  part.count = work.chunks * (part.rank + 1) / work.cluster - part.begin;
  if (threadIdx.x == 0) {
    for (int i = 0; i < work.stages; ++i) {
      InitBarrier(ring.full + i * 8, 1);
      InitBarrier(ring.empty + i * 8, kMultipliers / kGroup);
    }
    PublishBarriers();
  }
  __syncthreads();
  if (threadIdx.x >= kMultipliers) {
    if (threadIdx.x == kMultipliers) Copy(work, part, ring);
    __syncwarp();
  } else {
    const int group = static_cast<int>(threadIdx.x) / kGroup;
    float d[kTiles][kX / 2];
    Multiply<kX, kTiles>(ring, group, part.count, d);
    NamedBarrier(1, kMultipliers);  // every stage has been read
    Keep<kX, kTiles>(work, reinterpret_cast<float*>(room), group, d);
    AwaitEarlierKernels();
  }
  const bool alone = work.cluster == 1;
  if (alone) {
    __syncthreads();
  } else {
    SyncCluster();
  }
  if (threadIdx.x < kMultipliers) Finish(work, part, ring.at);
  if (!alone) AwaitCluster();  // no block leaves while its sums are read
#endif
}

using Kernel = void (*)(Work);

constexpr int kXRows[] = {32, 64, 96, 128};  // the least that holds them counts

int XRowsFor(int64_t m) { return *std::lower_bound(std::begin(kXRows), std::end(kXRows), m); }

template <int kX>
Kernel KernelFor(int tile_rows) {
  return tile_rows <= 2 * kMmaRows ? MediumMatMulKernel<kX, 1> : MediumMatMulKernel<kX, 2>;
}

Kernel KernelFor(int x_rows, int tile_rows) {
  switch (x_rows) {
    case 32:
      return KernelFor<32>(tile_rows);
    case 64:
      return KernelFor<64>(tile_rows);
    case 96:
      return KernelFor<96>(tile_rows);
    default:
      return KernelFor<128>(tile_rows);
  }
}

struct Launch {
  Launch(int clusters, int cluster, cudaStream_t stream) {
    attributes[0].id = cudaLaunchAttributeClusterDimension;
    attributes[0].val.clusterDim = {static_cast<unsigned>(cluster), 1, 1};
    attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[1].val.programmaticStreamSerializationAllowed = 1;
    config.gridDim = static_cast<unsigned>(clusters * cluster);
    config.blockDim = kThreads;
    config.dynamicSmemBytes = kSharedBytes;
    config.stream = stream;
    config.attrs = attributes;
    config.numAttrs = 2;
  }
  Launch(const Launch&) = delete;

  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config = {};
};

bool AllowSharedMemory() {
  for (const int x_rows : kXRows) {
    for (const int tile_rows : {kTileRowsMax / 2, kTileRowsMax}) {
      if (cudaFuncSetAttribute(KernelFor(x_rows, tile_rows),
                               cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(kSharedBytes)) != cudaSuccess) {
        cudaGetLastError();
        return false;
      }
    }
  }
  return true;
}

// How many run at once, by their shared memory; 0: none, on this device.
int ClustersOf(int blocks) {
  const Launch launch(1, blocks, nullptr);
  int clusters = 0;
  if (cudaOccupancyMaxActiveClusters(&clusters, KernelFor(kXRows[0], kTileRowsMax),
                                     &launch.config) != cudaSuccess) {
    cudaGetLastError();
    return 0;
  }
  return clusters;
}

}  // namespace

MediumMatMul::MediumMatMul() {
  if (ComputeCapabilityMajor() != 9 || !AllowSharedMemory()) return;
  for (int i = 0; i < kClusterMax; ++i) clusters_[i] = ClustersOf(i + 1);
}

std::optional<MediumMatMul::Cut> MediumMatMul::CutOf(const MatMulCall& call) const {
  constexpr int64_t kLargest = int64_t{1} << 30;
  if (call.m < 1 || call.m > kRowsMax || call.n < 1 || call.n > kLargest || call.k < 1 ||
      call.k > kLargest || call.k % 8 != 0 ||
      call.n % (call.gated ? 2 * kOutputs : kOutputs) != 0) {
    return std::nullopt;
  }
  // What a block reads, in rows of a chunk: x counts as much as measured on an H200.
  const int64_t x_cost = call.m <= kFewRows ? 48 : 96;
  const int64_t chunks = Cover(call.k, kColumns);
  std::optional<Cut> best;
  int64_t best_cost = 0;
  for (int64_t cluster = 1; cluster <= std::min<int64_t>(kClusterMax, chunks); ++cluster) {
    const int64_t at_once = clusters_[cluster - 1];
    if (at_once == 0) continue;
    const int64_t waves = Cover(call.n, kTileRowsMax * at_once);
    const int64_t rows = std::max<int64_t>(Cover(Cover(call.n, waves * at_once), 16) * 16, 32);
    const int64_t cost =
        waves * ((rows + x_cost) * Cover(chunks, cluster) + 2 * rows * (cluster - 1));
    if (best && cost >= best_cost) continue;
    best_cost = cost;
    best = Cut{static_cast<int>(cluster), static_cast<int>(rows),
               static_cast<int>(Cover(call.n, rows))};
  }
  if (best && call.m > kShortRowsMax && !IsLong(*best, chunks)) return std::nullopt;
  return best;
}

bool MediumMatMul::IsLong(const Cut& cut, int64_t chunks) const {
  return cut.tiles <= clusters_[cut.cluster - 1] && Cover(chunks, cut.cluster) >= kLongChunks;
}

int64_t MediumMatMul::RowsMax(MatMulCall call) const {
  for (const int64_t rows : {kRowsMax, kShortRowsMax}) {
    call.m = rows;
    if (Takes(call)) return rows;
  }
  return 0;
}

bool MediumMatMul::Run(const MatMulCall& call, cudaStream_t stream) const {
  if (call.m == 0 || call.n == 0) return true;
  const std::optional<Cut> cut = CutOf(call);
  return cut && Run(call, *cut, stream);
}

bool MediumMatMul::Run(const MatMulCall& call, const Cut& cut, cudaStream_t stream) const {
  CHECK(!call.gated || call.out_dtype == DType::kBF16) << "a gated product";
  const int x_rows = XRowsFor(call.m);
  Work work = {};
  const MapDimension w[] = {{call.k, 2, kColumns}, {call.n, call.k * 2, cut.tile_rows / 2}};
  const MapDimension x[] = {{call.k, 2, kColumns}, {call.m, call.k * 2, x_rows}};
  if (MakeTensorMap(call.w, w, &work.w) != cudaSuccess ||
      MakeTensorMap(call.x, x, &work.x) != cudaSuccess) {
    return false;
  }
  work.bias = call.bias;
  work.out = call.out;
  work.m = static_cast<int>(call.m);
  work.n = static_cast<int>(call.n);
  work.chunks = static_cast<int>(Cover(call.k, kColumns));
  work.tile_rows = cut.tile_rows;
  work.cluster = cut.cluster;
  work.gated = call.gated;
  work.to_f32 = call.out_dtype == DType::kF32;
  // Products read whole tiles of kMmaRows, past the last stage too; nobody wants those rows.
  const int read_rows = cut.tile_rows <= 2 * kMmaRows ? 2 * kMmaRows : kTileRowsMax;
  const int past = std::max(read_rows - cut.tile_rows - x_rows, 0) * kSwizzleRowBytes;
  const int64_t stage_bytes = (cut.tile_rows + x_rows) * kSwizzleRowBytes;
  work.stages = static_cast<int>(
      std::min<int64_t>((kSharedBytes - kSwizzleBlockBytes - past) / stage_bytes, kStagesMax));
  const Launch launch(cut.tiles, cut.cluster, stream);
  cudaLaunchKernelEx(&launch.config, KernelFor(x_rows, cut.tile_rows), work);
  return true;
}

}  // namespace headgate
