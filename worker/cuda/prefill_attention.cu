#include <cuda.h>
#include <cudaTypedefs.h>

#include <algorithm>

#include "kvstore/kv_layout.h"
#include "worker/cuda/key_boxes.cuh"
#include "worker/cuda/launch.cuh"
#include "worker/cuda/prefill_attention.h"
#include "worker/cuda/wgmma.cuh"

namespace headgate {
namespace {

constexpr int kRows = 128;  // of a tile: (token, query head of the group) pairs
constexpr int kKeys = 128;  // of a stage
constexpr int kStages = 2;
constexpr int kTileBoxes = kKeys / kBoxKeys;
constexpr int kGroupThreads = 128;  // a warpgroup
constexpr int kConsumers = 2 * kGroupThreads;
constexpr float kLog2E = 1.4426950408889634f;

template <int kDim>
struct Shared {
  static constexpr int kHalves = kDim / kSwizzleCols;
  static constexpr int kTileBytes = kKeys * kDim * 2;
  alignas(1024) uint8_t q[kRows * kDim * 2];
  alignas(1024) uint8_t k[kStages][kTileBytes];
  alignas(1024) uint8_t v[kStages][kTileBytes];
  uint64_t k_full[kStages], k_empty[kStages], v_full[kStages], v_empty[kStages];
};

// What a block works on; the same in every thread.
struct Tile {
  StepSequence sequence;
  RowSpec spec;
  int32_t row = 0;    // in the page tables
  int32_t head = 0;   // kv head of the layer
  int32_t group = 1;  // query heads per kv head
  int64_t first = 0;  // token of the chunk
  int64_t tokens = 0;
  KeyBoxes boxes;
  int32_t steps = 0;  // stages of keys
  // Steps whose keys all queries of the tile see: below `clear_pages`, and of the chunk's.
  int32_t clear_pages = 0, clear_begin = 0, clear_end = 0;

  __device__ bool AllVisible(int32_t step) const {
    return step < clear_pages || (clear_begin <= step && step < clear_end);
  }
  __device__ int64_t position(int64_t token) const { return sequence.position + first + token; }
};

__device__ bool FindTile(const AttentionCall& call, int64_t tile, Tile* out) {
  const int32_t group = call.heads / call.kv_heads;
  const int64_t tokens = kRows / group;
  for (int32_t s = 0; s < call.step.sequence_count; ++s) {
    const StepSequence sequence = call.step.sequences[s];
    if (call.long_chunks_only && sequence.length == 1) continue;
    const int64_t tiles = (sequence.length + tokens - 1) / tokens;
    if (tile >= tiles) {
      tile -= tiles;
      continue;
    }
    out->sequence = sequence;
    out->group = group;
    out->first = tile * tokens;
    out->tokens = min(tokens, sequence.length - out->first);
    out->head = blockIdx.y;
    out->row = call.row_begin + out->head;
    out->spec = call.tables.specs[out->row];
    out->boxes = FindKeyBoxes(out->spec, sequence, out->position(0), out->position(out->tokens - 1),
                              call.tables.page_tokens);
    out->steps = (out->boxes.count() + kTileBoxes - 1) / kTileBoxes;
    if (out->spec.head_class == HeadClass::kFull) {
      const int32_t in_pages = out->boxes.until[1];
      out->clear_pages = sequence.position / kKeys;
      out->clear_begin = (in_pages + kTileBoxes - 1) / kTileBoxes;
      out->clear_end = static_cast<int32_t>((in_pages + (out->first + 1) / kBoxKeys) / kTileBoxes);
    }
    return true;
  }
  return false;
}

// Where one box of keys and one of values lie.
struct BoxPlace {
  bool in_pages = false;
  int32_t k_row = 0, k_col = 0, v_row = 0, v_col = 0;
};

// Boxes past the end repeat the last one: masked.
__device__ BoxPlace FindBox(const AttentionCall& call, const Tile& tile, int32_t box) {
  box = min(box, tile.boxes.count() - 1);
  const int64_t page_tokens = call.tables.page_tokens;
  const int run = tile.boxes.RunOf(box);
  const int64_t position = tile.boxes.Position(box, run);
  BoxPlace place;
  place.in_pages = KeyBoxes::InPages(run);
  if (place.in_pages) {
    const int64_t slot = TableSlot(tile.spec, tile.sequence.position, position, page_tokens);
    const int64_t page = *TableEntry(call.tables, tile.sequence.place, tile.row, slot);
    place.k_row = static_cast<int32_t>(page * 2 * page_tokens + position % page_tokens);
    place.v_row = place.k_row + static_cast<int32_t>(page_tokens);
  } else {
    place.k_row = place.v_row =
        static_cast<int32_t>(tile.sequence.offset + position - tile.sequence.position);
    place.k_col = (call.heads + tile.head) * call.head_dim;
    place.v_col = place.k_col + call.kv_heads * call.head_dim;
  }
  return place;
}

// Lanes 0..7 of the loading warp bring one box each.
template <int kDim>
__device__ void Load(const AttentionCall& call, const CUtensorMap& pages, const CUtensorMap& qkv,
                     const Tile& tile, Shared<kDim>& shared, int lane) {
  const auto copy = [&](uint8_t* to, const BoxPlace& place, int32_t row, int32_t col,
                        uint64_t* full) {
    if (lane == 0) BarrierArriveExpect(full, Shared<kDim>::kTileBytes);
    __syncwarp();
    if (lane >= kTileBoxes) return;
    for (int half = 0; half < Shared<kDim>::kHalves; ++half) {
      CopyBox(place.in_pages ? pages : qkv,
              SmemAddress(to) + (half * kKeys + lane * kBoxKeys) * kSwizzleRowBytes,
              col + half * kSwizzleCols, row, full);
    }
  };
  BoxPlace next;
  if (lane < kTileBoxes) next = FindBox(call, tile, lane);
  for (int32_t step = 0; step < tile.steps; ++step) {
    const int stage = step % kStages;
    const uint32_t phase = (step / kStages & 1) ^ 1;
    const BoxPlace place = next;
    BarrierWait(&shared.k_empty[stage], phase);
    copy(shared.k[stage], place, place.k_row, place.k_col, &shared.k_full[stage]);
    // Two reads of tables, one after the other: under way while the stage is waited for.
    if (lane < kTileBoxes) next = FindBox(call, tile, (step + 1) * kTileBoxes + lane);
    BarrierWait(&shared.v_empty[stage], phase);
    copy(shared.v[stage], place, place.v_row, place.v_col, &shared.v_full[stage]);
  }
}

// Queries into shared memory, swizzled; rows without a query become zero.
template <int kDim>
__device__ void LoadQueries(const AttentionCall& call, const Tile& tile, Shared<kDim>& shared,
                            int thread) {
  constexpr int kPieces = kDim / 8;  // of 16 bytes
  const int64_t cols = (call.heads + 2 * call.kv_heads) * static_cast<int64_t>(kDim);
  for (int i = thread; i < kRows * kPieces; i += kConsumers) {
    const int row = i / kPieces, piece = i % kPieces;
    const int64_t token = row / tile.group;
    uint4 value = {};
    if (token < tile.tokens) {
      const int64_t at = (tile.sequence.offset + tile.first + token) * cols +
                         (tile.head * tile.group + row % tile.group) * static_cast<int64_t>(kDim) +
                         piece * 8;
      value = *reinterpret_cast<const uint4*>(call.qkv + at);
    }
    uint8_t* to = shared.q + piece / 8 * kRows * kSwizzleRowBytes + row * kSwizzleRowBytes +
                  ((piece % 8) ^ (row % 8)) * 16;
    *reinterpret_cast<uint4*>(to) = value;
  }
  FenceAsyncProxy();
  NamedBarrier(1, kConsumers);
}

// Void keys hold what other sequences or nobody wrote: a NaN times a weight of zero is a NaN.
template <int kDim>
__device__ void ZeroVoidValues(const Tile& tile, int32_t step, uint8_t* v, int thread) {
  constexpr int kPieces = kDim / 8;
  for (int i = thread; i < kKeys * kPieces; i += kConsumers) {
    const int key = i / kPieces, piece = i % kPieces;
    const int32_t box = step * kTileBoxes + key / kBoxKeys;
    bool is_void = box >= tile.boxes.count();
    if (!is_void) {
      const int run = tile.boxes.RunOf(box);
      is_void = tile.boxes.Position(box, run) + key % kBoxKeys >= tile.boxes.end[run];
    }
    if (!is_void) continue;
    uint8_t* to = v + piece / 8 * kKeys * kSwizzleRowBytes + key * kSwizzleRowBytes +
                  ((piece % 8) ^ (key % 8)) * 16;
    *reinterpret_cast<uint4*>(to) = uint4{};
  }
  FenceAsyncProxy();
  NamedBarrier(1, kConsumers);
}

// Scores outside Vis become -inf. The thread holds columns 8 j + 2 (lane % 4) + {0, 1} of rows
// lane / 4 and lane / 4 + 8 of its warp's 16.
__device__ void Mask(const AttentionCall& call, const Tile& tile, int32_t step, int row, int lane,
                     float (&scores)[64]) {
  int64_t t[2], window[2];
  for (int r = 0; r < 2; ++r) {
    const int64_t token = min(static_cast<int64_t>((row + 8 * r) / tile.group), tile.tokens - 1);
    t[r] = tile.position(token);
    window[r] = WindowStart(tile.spec, t[r], call.tables.page_tokens);
  }
#pragma unroll
  for (int b = 0; b < kTileBoxes; ++b) {
    const int32_t box = step * kTileBoxes + b;
    const bool exists = box < tile.boxes.count();
    const int run = exists ? tile.boxes.RunOf(box) : 0;
    const int64_t base = exists ? tile.boxes.Position(box, run) : 0;
    const int64_t end = exists ? tile.boxes.end[run] : 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) {  // two blocks of 8 columns: 4 values each
      const int64_t key = base + i / 4 * 8 + lane % 4 * 2 + i % 2;
      const int r = i / 2 % 2;
      const bool seen = key < end && key <= t[r] && (key < tile.spec.sinks || key >= window[r]);
      if (!seen) scores[b * 8 + i] = -INFINITY;
    }
  }
}

__device__ float Exp2(float x) {
  float result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(x));
  return result;
}

// Online softmax of one warpgroup's 64 rows; a thread holds two of them.
struct Softmax {
  float top[2] = {-INFINITY, -INFINITY};
  float sum[2] = {0.0f, 0.0f};
  float keep[2];  // factor of what was summed before the last Update

  // scores := weights 2^(scale * (score - top)).
  __device__ void Update(float scale, float (&scores)[64]) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      float higher = top[r];
#pragma unroll
      for (int i = 0; i < 32; ++i) higher = fmaxf(higher, scores[i / 2 * 4 + r * 2 + i % 2]);
      higher = fmaxf(higher, __shfl_xor_sync(~0u, higher, 1));
      higher = fmaxf(higher, __shfl_xor_sync(~0u, higher, 2));
      const float base = higher == -INFINITY ? 0.0f : higher * scale;
      keep[r] = Exp2(top[r] * scale - base);
      top[r] = higher;
      float added = 0.0f;
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        float& score = scores[i / 2 * 4 + r * 2 + i % 2];
        score = Exp2(score * scale - base);
        added += score;
      }
      sum[r] = sum[r] * keep[r] + added;
    }
  }
  __device__ float Total(int r) const {
    float total = sum[r] + __shfl_xor_sync(~0u, sum[r], 1);
    return total + __shfl_xor_sync(~0u, total, 2);
  }
};

__device__ uint32_t PackBf16(float low, float high) {
  uint32_t packed;
  asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
  return packed;
}

__device__ void ToWeights(const float (&scores)[64], uint32_t (&weights)[kKeys / 16][4]) {
#pragma unroll
  for (int k = 0; k < kKeys / 16; ++k) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      weights[k][i] = PackBf16(scores[k * 8 + 2 * i], scores[k * 8 + 2 * i + 1]);
    }
  }
}

// The warpgroups take turns to issue products, so that one's softmax runs under the other's
// products. A turn is a named barrier of both: one waits, the other arrives.
__device__ void TakeTurn(int warpgroup) { NamedBarrier(2 + warpgroup, kConsumers); }
__device__ void GiveTurn(int warpgroup) { NamedArrive(2 + warpgroup, kConsumers); }

template <int kDim>
__device__ void IssueScores(const Shared<kDim>& shared, int stage, int warpgroup,
                            float (&scores)[64]) {
  const uint32_t q = SmemAddress(shared.q) + warpgroup * 64 * kSwizzleRowBytes;
  const uint32_t k = SmemAddress(shared.k[stage]);
  WgmmaBegin();
#pragma unroll
  for (int i = 0; i < kDim / 16; ++i) {
    const uint32_t half = i / 4, in_half = i % 4 * 32;
    Wgmma64x128Shared(scores, SmemDescriptor(q + half * kRows * kSwizzleRowBytes + in_half, 16),
                      SmemDescriptor(k + half * kKeys * kSwizzleRowBytes + in_half, 16), i > 0);
  }
  WgmmaCommit();
}

template <int kDim>
__device__ void IssueValues(const Shared<kDim>& shared, int stage,
                            const uint32_t (&weights)[kKeys / 16][4], float (&out)[kDim / 2]) {
  const uint32_t v = SmemAddress(shared.v[stage]);
  WgmmaBegin();
#pragma unroll
  for (int k = 0; k < kKeys / 16; ++k) {
    WgmmaFromRegisters(out, weights[k],
                       SmemDescriptor(v + k * 16 * kSwizzleRowBytes, kKeys * kSwizzleRowBytes));
  }
  WgmmaCommit();
}

template <int kDim>
__device__ void Compute(const AttentionCall& call, const Tile& tile, Shared<kDim>& shared,
                        int thread) {
  const int warpgroup = thread / kGroupThreads, lane = thread % 32;
  const int row = warpgroup * 64 + thread % kGroupThreads / 32 * 16 + lane / 4;
  const float scale = kLog2E * rsqrtf(static_cast<float>(kDim));
  LoadQueries<kDim>(call, tile, shared, thread);

  float out[kDim / 2] = {};
  float scores[64];
  uint32_t weights[kKeys / 16][4];
  Softmax softmax;
  const auto scores_of = [&](int32_t step) {  // issued; the caller waits
    BarrierWait(&shared.k_full[step % kStages], step / kStages & 1);
    IssueScores<kDim>(shared, step % kStages, warpgroup, scores);
  };
  const auto await_values = [&](int32_t step) {
    BarrierWait(&shared.v_full[step % kStages], step / kStages & 1);
    if (!tile.AllVisible(step)) ZeroVoidValues<kDim>(tile, step, shared.v[step % kStages], thread);
  };

  scores_of(0);
  WgmmaWait<0>();
  AfterWait(scores);
  BarrierArrive(&shared.k_empty[0]);
  if (!tile.AllVisible(0)) Mask(call, tile, 0, row, lane, scores);
  softmax.Update(scale, scores);
  ToWeights(scores, weights);
  if (warpgroup == 1) GiveTurn(0);
  for (int32_t step = 1; step < tile.steps; ++step) {
    const bool early = !tile.AllVisible(step - 1);
    if (early) await_values(step - 1);  // both warpgroups meet there: not inside a turn
    TakeTurn(warpgroup);
    scores_of(step);
    if (!early) await_values(step - 1);
    IssueValues<kDim>(shared, (step - 1) % kStages, weights, out);
    GiveTurn(1 - warpgroup);
    WgmmaWait<1>();
    AfterWait(scores);
    BarrierArrive(&shared.k_empty[step % kStages]);
    if (!tile.AllVisible(step)) Mask(call, tile, step, row, lane, scores);
    softmax.Update(scale, scores);
    WgmmaWait<0>();
    AfterWait(out);
    BarrierArrive(&shared.v_empty[(step - 1) % kStages]);
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) out[i] *= softmax.keep[i / 2 % 2];
    ToWeights(scores, weights);
  }
  if (warpgroup == 0) TakeTurn(0);  // the last one that the other gave
  await_values(tile.steps - 1);
  IssueValues<kDim>(shared, (tile.steps - 1) % kStages, weights, out);
  WgmmaWait<0>();
  AfterWait(out);

#pragma unroll
  for (int r = 0; r < 2; ++r) {
    const float factor = 1.0f / softmax.Total(r);
    const int64_t token = (row + 8 * r) / tile.group;
    if (token >= tile.tokens) continue;
    const int64_t head = tile.head * tile.group + (row + 8 * r) % tile.group;
    __nv_bfloat16* to = call.out +
                        ((tile.sequence.offset + tile.first + token) * call.heads + head) * kDim +
                        lane % 4 * 2;
#pragma unroll
    for (int block = 0; block < kDim / 8; ++block) {
      *reinterpret_cast<uint32_t*>(to + block * 8) =
          PackBf16(out[block * 4 + r * 2] * factor, out[block * 4 + r * 2 + 1] * factor);
    }
  }
}

template <int kDim>
__global__ void __launch_bounds__(kConsumers + kGroupThreads, 1)
    PrefillKernel(const AttentionCall call, const __grid_constant__ CUtensorMap pages,
                  const __grid_constant__ CUtensorMap qkv) {
#if __CUDA_ARCH__ >= 900  // elsewhere PrefillFits says no
  extern __shared__ uint8_t memory[];
  auto& shared =
      *reinterpret_cast<Shared<kDim>*>(memory + (1024 - SmemAddress(memory) % 1024) % 1024);
  Tile tile;
  // The last tiles see most keys: begin with them.
  if (!FindTile(call, gridDim.x - 1 - blockIdx.x, &tile)) return;
  if (threadIdx.x == 0) {
    for (int stage = 0; stage < kStages; ++stage) {
      BarrierInit(&shared.k_full[stage], 1);
      BarrierInit(&shared.v_full[stage], 1);
      BarrierInit(&shared.k_empty[stage], kConsumers);
      BarrierInit(&shared.v_empty[stage], kConsumers);
    }
    FenceAsyncProxy();
  }
  __syncthreads();
  if (threadIdx.x >= kConsumers) {
    GiveRegisters<40>();
    if (threadIdx.x < kConsumers + 32) {
      Load<kDim>(call, pages, qkv, tile, shared, threadIdx.x % 32);
    }
  } else {
    TakeRegisters<232>();
    Compute<kDim>(call, tile, shared, threadIdx.x);
  }
#endif
}

using Encode = PFN_cuTensorMapEncodeTiled_v12000;

// The driver's function, found at run time: nothing links to libcuda.
Encode FindEncode() {
  static const Encode found = [] {
    void* function = nullptr;
    cudaDriverEntryPointQueryResult result;
    const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &function,
                                                               12000, cudaEnableDefault, &result);
    return error == cudaSuccess ? reinterpret_cast<Encode>(function) : nullptr;
  }();
  return found;
}

// bf16 [rows, cols] without gaps, read in boxes of 16 rows and 64 columns.
cudaError_t MakeMap(const void* data, int64_t rows, int64_t cols, CUtensorMap* map) {
  const Encode encode = FindEncode();
  if (encode == nullptr) return cudaErrorNotSupported;
  const cuuint64_t sizes[] = {static_cast<cuuint64_t>(cols), static_cast<cuuint64_t>(rows)};
  const cuuint64_t strides[] = {static_cast<cuuint64_t>(cols * 2)};
  const cuuint32_t box[] = {kSwizzleCols, kBoxKeys};
  const cuuint32_t steps[] = {1, 1};
  const CUresult result =
      encode(map, CU_TENSOR_MAP_DATA_TYPE_BFLOAT16, 2, const_cast<void*>(data), sizes, strides, box,
             steps, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

template <int kDim>
cudaError_t Launch(const AttentionCall& call, const CUtensorMap& pages, const CUtensorMap& qkv,
                   int64_t tiles, cudaStream_t stream) {
  constexpr int kBytes = static_cast<int>(sizeof(Shared<kDim>)) + 1024;
  static const cudaError_t allowed = cudaFuncSetAttribute(
      PrefillKernel<kDim>, cudaFuncAttributeMaxDynamicSharedMemorySize, kBytes);
  if (allowed != cudaSuccess) return allowed;
  const dim3 grid(static_cast<unsigned>(tiles), static_cast<unsigned>(call.kv_heads));
  PrefillKernel<kDim><<<grid, kConsumers + kGroupThreads, kBytes, stream>>>(call, pages, qkv);
  return cudaGetLastError();
}

}  // namespace

bool PrefillFits(const AttentionCall& call) {
  return ComputeCapabilityMajor() == 9 && (call.head_dim == 64 || call.head_dim == 128) &&
         call.tables.page_tokens % kBoxKeys == 0 && call.heads / call.kv_heads <= kRows;
}

int64_t PrefillTiles(int64_t length, int64_t group) {
  const int64_t tokens = kRows / group;
  return (length + tokens - 1) / tokens;
}

cudaError_t LaunchPrefill(const AttentionCall& call, int64_t tiles, cudaStream_t stream) {
  if (tiles == 0) return cudaSuccess;
  CUtensorMap pages, qkv;
  const int64_t page_rows = int64_t{2} * call.tables.page_tokens * call.tables.pages_total;
  if (const cudaError_t error = MakeMap(call.pages, page_rows, call.head_dim, &pages);
      error != cudaSuccess) {
    return error;
  }
  const int64_t cols = (call.heads + 2 * call.kv_heads) * static_cast<int64_t>(call.head_dim);
  if (const cudaError_t error = MakeMap(call.qkv, call.step.rows, cols, &qkv);
      error != cudaSuccess) {
    return error;
  }
  return call.head_dim == 64 ? Launch<64>(call, pages, qkv, tiles, stream)
                             : Launch<128>(call, pages, qkv, tiles, stream);
}

}  // namespace headgate
