#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/bench/graph_timer.h"
#include "worker/cuda/device/async_copy.cuh"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/device/launch.cuh"

namespace headgate {
namespace {

constexpr int kThreads = 256;
constexpr int kWarp = 32;
constexpr int kLoads = 8;                                              // of a lane under way
constexpr int64_t kRow = kWarp * static_cast<int64_t>(sizeof(uint4));  // of a warp's load
constexpr int64_t kPiece = kLoads * kRow;
constexpr int kReplays = 9;

__device__ uint32_t Mix(uint32_t x) {  // any mixer of all bits would do
  x = (x ^ (x >> 16)) * 0x7feb352du;
  x = (x ^ (x >> 15)) * 0x846ca68bu;
  return x ^ (x >> 16);
}

// `mask`: the random bits of two halves.
__global__ void FillBf16Kernel(uint32_t* to, int64_t words, uint32_t seed, uint32_t mask) {
  const int64_t stride = static_cast<int64_t>(gridDim.x) * blockDim.x;
  for (int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x; i < words;
       i += stride) {
    to[i] = (Mix(static_cast<uint32_t>(i) * 2654435761u + seed) & mask) | 0x3c003c00u;
  }
}

// A warp per part; parts are visited in steps of `stride`, coprime to their number.
__global__ void __launch_bounds__(kThreads)
    ReadKernel(const std::byte* from, int64_t parts, int64_t part_bytes, int64_t stride,
               uint32_t* sink) {
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kThreads / kWarp);
  const int64_t in_warp = threadIdx.x % kWarp * sizeof(uint4);
  uint32_t bits = 0;
  for (int64_t i = (blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x) / kWarp; i < parts;
       i += warps) {
    const std::byte* part = from + i * stride % parts * part_bytes + in_warp;
    for (int64_t at = 0; at < part_bytes; at += kPiece) {
      uint4 values[kLoads] = {};
#pragma unroll
      for (int j = 0; j < kLoads; ++j) {
        const int64_t offset = at + j * kRow;
        if (offset >= part_bytes) continue;
        asm volatile("ld.global.L1::no_allocate.v4.u32 {%0, %1, %2, %3}, [%4];"
                     : "=r"(values[j].x), "=r"(values[j].y), "=r"(values[j].z), "=r"(values[j].w)
                     : "l"(part + offset));
      }
#pragma unroll
      for (int j = 0; j < kLoads; ++j) {
        bits ^= values[j].x ^ values[j].y ^ values[j].z ^ values[j].w;
      }
    }
  }
  if (bits == 0x9e3779b9u) *sink = bits;
}

constexpr int kRingBytes = 96 << 10;  // of a block's parts under way: two blocks fit an SM

// Parts as ReadKernel's, by bulk copies to shared memory that one thread of a block issues.
__global__ void BulkReadKernel(const std::byte* from, int64_t parts, int64_t part_bytes,
                               int64_t stride) {
#if __CUDA_ARCH__ >= 900
  extern __shared__ __align__(128) uint8_t ring[];
  constexpr int kPlacesMax = kRingBytes / (4 << 10);
  __shared__ uint64_t landed[kPlacesMax];
  const auto places = static_cast<uint32_t>(kRingBytes / part_bytes);
  const auto bytes = static_cast<uint32_t>(part_bytes);
  for (uint32_t place = 0; place < places; ++place) InitBarrier(SharedAddress(landed + place), 1);
  PublishBarriers();
  // No divisions between copies: they would take longer than a small one.
  const int64_t step = gridDim.x * stride % parts;
  int64_t part = blockIdx.x * stride % parts;
  uint32_t place = 0, round = 0;
  for (int64_t i = blockIdx.x; i < parts; i += gridDim.x) {
    const uint32_t barrier = SharedAddress(landed + place);
    if (round > 0) AwaitPhase(barrier, (round - 1) & 1);
    ArriveExpecting(barrier, bytes);
    CopyToShared(SharedAddress(ring) + place * bytes, from + part * part_bytes, bytes, barrier);
    part += part + step < parts ? step : step - parts;
    place = place + 1 == places ? 0 : place + 1;
    round += place == 0 ? 1 : 0;
  }
  for (uint32_t last = 0; last < places; ++last) {
    const uint32_t rounds = last < place ? round + 1 : round;  // that used this place
    if (rounds > 0) AwaitPhase(SharedAddress(landed + last), (rounds - 1) & 1);
  }
#endif
}

__global__ void __launch_bounds__(kThreads)
    CopyKernel(const uint4* from, uint4* to, int64_t pieces) {
  const int64_t warps = static_cast<int64_t>(gridDim.x) * (kThreads / kWarp);
  for (int64_t i = (blockIdx.x * static_cast<int64_t>(kThreads) + threadIdx.x) / kWarp; i < pieces;
       i += warps) {
    const int64_t at = i * (kWarp * kLoads) + threadIdx.x % kWarp;
    uint4 values[kLoads];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) values[j] = from[at + j * kWarp];
#pragma unroll
    for (int j = 0; j < kLoads; ++j) to[at + j * kWarp] = values[j];
  }
}

unsigned Blocks(int per_sm) {
  int device = 0, sms = 0;
  cudaGetDevice(&device);
  cudaDeviceGetAttribute(&sms, cudaDevAttrMultiProcessorCount, device);
  return static_cast<unsigned>(sms * per_sm);
}

// Parts are visited in steps of it: no divisor of their number.
constexpr int64_t kPrime = 1000003;
int64_t PartsOf(int64_t bytes, int64_t part_bytes) {
  const int64_t parts = bytes / part_bytes;
  return parts % kPrime == 0 ? parts - 1 : parts;
}

// The best of several numbers of blocks. `launch` gets how many an SM has.
template <typename Launch>
absl::StatusOr<double> BestTbPerS(int64_t bytes, const Launch& launch) {
  double best = 0.0;
  for (const int per_sm : {1, 2, 4, 8}) {
    ASSIGN_OR_RETURN(
        const double us,
        MedianReplayUs([&](cudaStream_t stream) { launch(Blocks(per_sm), stream); }, kReplays));
    best = std::max(best, static_cast<double>(bytes) / us / 1e6);
  }
  return best;
}

absl::StatusOr<double> BulkReadTbPerS(const std::byte* from, int64_t bytes, int64_t part_bytes) {
  RETURN_IF_ERROR(CudaStatus(
      cudaFuncSetAttribute(BulkReadKernel, cudaFuncAttributeMaxDynamicSharedMemorySize, kRingBytes),
      "asking for shared memory"));
  const int64_t parts = PartsOf(bytes, part_bytes);
  return BestTbPerS(parts * part_bytes, [&](unsigned blocks, cudaStream_t stream) {
    BulkReadKernel<<<blocks, 1, kRingBytes, stream>>>(from, parts, part_bytes, kPrime);
  });
}

}  // namespace

void LaunchFillBf16(void* to, int64_t bytes, uint32_t seed, cudaStream_t stream, FillSize size) {
  // Exponents of 2^-7, or from there to 2^0; all signs and mantissas.
  const uint32_t mask = size == FillSize::kHundredth ? 0x807f807fu : 0x83ff83ffu;
  FillBf16Kernel<<<Blocks(8), kThreads, 0, stream>>>(static_cast<uint32_t*>(to), bytes / 4, seed,
                                                     mask);
}

absl::StatusOr<double> ReadTbPerS(const void* from, int64_t bytes, int64_t part_bytes,
                                  uint32_t* sink) {
  const bool linear = part_bytes == 0;
  if (linear) part_bytes = kPiece;
  const int64_t parts = linear ? bytes / part_bytes : PartsOf(bytes, part_bytes);
  return BestTbPerS(parts * part_bytes, [&](unsigned blocks, cudaStream_t stream) {
    ReadKernel<<<blocks, kThreads, 0, stream>>>(static_cast<const std::byte*>(from), parts,
                                                part_bytes, linear ? 1 : kPrime, sink);
  });
}

absl::StatusOr<std::vector<Bandwidth>> MeasureBandwidth(int64_t bytes) {
  ASSIGN_OR_RETURN(const CudaBuffer memory, CudaBuffer::Create(MemoryPlace::kDevice, bytes));
  ASSIGN_OR_RETURN(const CudaBuffer sink, CudaBuffer::Create(MemoryPlace::kDevice, 4));
  LaunchFillBf16(memory.data(), bytes, 1, nullptr);
  RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "filling memory"));
  std::vector<Bandwidth> found;
  for (const int64_t part_kb : {0, 4, 8, 16}) {
    ASSIGN_OR_RETURN(const double tb_s,
                     ReadTbPerS(memory.data(), bytes, part_kb << 10, sink.as<uint32_t>()));
    found.push_back(
        {part_kb == 0 ? "linear read" : absl::StrCat("random read, ", part_kb, " KB"), tb_s});
  }
  const int64_t pieces = bytes / 2 / kPiece;
  ASSIGN_OR_RETURN(const double tb_s,
                   BestTbPerS(2 * pieces * kPiece, [&](unsigned blocks, cudaStream_t stream) {
                     CopyKernel<<<blocks, kThreads, 0, stream>>>(
                         memory.as<const uint4>(),
                         reinterpret_cast<uint4*>(memory.data() + pieces * kPiece), pieces);
                   }));
  found.push_back({"linear copy", tb_s});
  for (const int64_t part_kb : {4, 8, 16}) {
    if (ComputeCapabilityMajor() < 9) break;
    ASSIGN_OR_RETURN(const double bulk_tb_s, BulkReadTbPerS(memory.data(), bytes, part_kb << 10));
    found.push_back(
        {absl::StrCat("random bulk copy to shared memory, ", part_kb, " KB"), bulk_tb_s});
  }
  return found;
}

}  // namespace headgate
