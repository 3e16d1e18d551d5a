#include <algorithm>

#include "kvstore/kv_layout.h"
#include "worker/cuda/attention/attention.h"

namespace headgate {
namespace {

constexpr int kWarp = 32;
constexpr int kWarps = 8;  // of a block: each takes every eighth key, then they merge

// Where a position's key lies; its value is `value_offset` elements further.
struct KeyPlace {
  const __nv_bfloat16* key;
  int64_t value_offset;
};

__device__ __nv_bfloat16* InPages(const AttentionCall& call, int32_t place, int32_t row,
                                  const RowSpec& spec, int64_t length, int64_t position) {
  const int64_t slot = TableSlot(spec, length, position, call.tables.page_tokens);
  const PageId page = *TableEntry(call.tables, place, row, slot);
  return reinterpret_cast<__nv_bfloat16*>(call.pages + page * call.page_bytes) +
         position % call.tables.page_tokens * call.head_dim;
}

__device__ KeyPlace FindKey(const AttentionCall& call, const StepSequence& sequence, int32_t head,
                            const RowSpec& spec, int64_t position) {
  if (position < sequence.position) {
    return {InPages(call, sequence.place, call.row_begin + head, spec, sequence.position, position),
            static_cast<int64_t>(call.tables.page_tokens) * call.head_dim};
  }
  const int64_t cols = (call.heads + 2 * call.kv_heads) * static_cast<int64_t>(call.head_dim);
  const int64_t row = sequence.offset + position - sequence.position;
  return {call.qkv + row * cols + (call.heads + head) * static_cast<int64_t>(call.head_dim),
          call.kv_heads * static_cast<int64_t>(call.head_dim)};
}

// Running softmax of one query: the largest score, the sum of weights, and this lane's columns of
// the weighted sum of values.
template <int kPerLane>
struct Softmax {
  float top = -INFINITY;
  float weight = 0.0f;
  float sum[kPerLane] = {};

  __device__ void Add(float score, const __nv_bfloat16* value, int lane, int head_dim) {
    const float higher = fmaxf(top, score);
    const float keep = __expf(top - higher), add = __expf(score - higher);
    top = higher;
    weight = weight * keep + add;
    for (int i = 0; i < kPerLane; ++i) {
      const int d = lane + i * kWarp;
      if (d < head_dim) sum[i] = sum[i] * keep + add * __bfloat162float(value[d]);
    }
  }
};

// One block per (row, query head). Simple on purpose: it is what faster kernels are checked
// against.
template <int kPerLane>
__global__ void AttendKernel(AttentionCall call) {
  const int64_t m = blockIdx.x;
  const int32_t query_head = blockIdx.y;
  const int32_t head = query_head / (call.heads / call.kv_heads);
  const StepSequence sequence = call.step.sequences[call.step.sequence_of[m]];
  if (sequence.length == 0 || (call.long_chunks_only && sequence.length == 1)) return;
  const RowSpec spec = call.tables.specs[call.row_begin + head];
  const int64_t t = call.step.positions[m];
  const int64_t window = WindowStart(spec, t, call.tables.page_tokens);
  const int64_t sinks = spec.head_class == HeadClass::kFull ? 0 : min(spec.sinks, t + 1);
  const int64_t visible = sinks + max(t + 1 - max(window, sinks), int64_t{0});
  const int lane = threadIdx.x % kWarp, warp = threadIdx.x / kWarp;
  const int64_t cols = (call.heads + 2 * call.kv_heads) * static_cast<int64_t>(call.head_dim);
  const __nv_bfloat16* q = call.qkv + m * cols + query_head * static_cast<int64_t>(call.head_dim);
  const float scale = rsqrtf(static_cast<float>(call.head_dim));
  float query[kPerLane];
  for (int i = 0; i < kPerLane; ++i) {
    const int d = lane + i * kWarp;
    query[i] = d < call.head_dim ? __bfloat162float(q[d]) * scale : 0.0f;
  }

  Softmax<kPerLane> mine;
  for (int64_t i = warp; i < visible; i += kWarps) {
    const int64_t position = i < sinks ? i : max(window, sinks) + i - sinks;
    const KeyPlace at = FindKey(call, sequence, head, spec, position);
    float score = 0.0f;
    for (int e = 0; e < kPerLane; ++e) {
      const int d = lane + e * kWarp;
      if (d < call.head_dim) score += query[e] * __bfloat162float(at.key[d]);
    }
    for (int offset = kWarp / 2; offset > 0; offset /= 2) {
      score += __shfl_xor_sync(~0u, score, offset);
    }
    mine.Add(score, at.key + at.value_offset, lane, call.head_dim);
  }

  __shared__ float tops[kWarps], weights[kWarps], sums[kWarps][kPerLane * kWarp];
  if (lane == 0) {
    tops[warp] = mine.top;
    weights[warp] = mine.weight;
  }
  for (int i = 0; i < kPerLane; ++i) sums[warp][lane + i * kWarp] = mine.sum[i];
  __syncthreads();
  float top = -INFINITY, weight = 0.0f;
  for (int w = 0; w < kWarps; ++w) top = fmaxf(top, tops[w]);
  for (int w = 0; w < kWarps; ++w) weight += weights[w] * __expf(tops[w] - top);
  __nv_bfloat16* out = call.out + (m * call.heads + query_head) * call.head_dim;
  for (int d = threadIdx.x; d < call.head_dim; d += blockDim.x) {
    float sum = 0.0f;
    for (int w = 0; w < kWarps; ++w) sum += sums[w][d] * __expf(tops[w] - top);
    out[d] = __float2bfloat16(sum / weight);
  }
}

// One block per row; all kv heads.
__global__ void AppendKernel(AttentionCall call) {
  const int64_t m = blockIdx.x;
  const StepSequence sequence = call.step.sequences[call.step.sequence_of[m]];
  if (sequence.length == 0 || (call.long_chunks_only && sequence.length == 1)) return;
  const int64_t position = call.step.positions[m];
  const int64_t next = sequence.position + sequence.length;
  const int64_t dim = call.head_dim;
  const __nv_bfloat16* row = call.qkv + m * (call.heads + 2 * call.kv_heads) * dim;
  for (int64_t i = threadIdx.x; i < call.kv_heads * dim; i += blockDim.x) {
    const int32_t head = static_cast<int32_t>(i / dim);
    const RowSpec spec = call.tables.specs[call.row_begin + head];
    if (!InSinksOrWindow(spec, position, next, call.tables.page_tokens)) continue;
    __nv_bfloat16* to =
        InPages(call, sequence.place, call.row_begin + head, spec, sequence.position, position) +
        i % dim;
    to[0] = row[call.heads * dim + i];
    to[call.tables.page_tokens * dim] = row[(call.heads + call.kv_heads) * dim + i];
  }
}

template <int kPerLane>
void Attend(const AttentionCall& call, cudaStream_t stream) {
  const dim3 grid(static_cast<unsigned>(call.step.rows), static_cast<unsigned>(call.heads));
  AttendKernel<kPerLane><<<grid, kWarps * kWarp, 0, stream>>>(call);
}

}  // namespace

void LaunchAttend(const AttentionCall& call, cudaStream_t stream) {
  if (call.step.rows == 0 || call.heads == 0) return;
  switch ((call.head_dim + kWarp - 1) / kWarp) {
    case 1:
      return Attend<1>(call, stream);
    case 2:
      return Attend<2>(call, stream);
    case 3:
      return Attend<3>(call, stream);
    case 4:
      return Attend<4>(call, stream);
    case 5:
      return Attend<5>(call, stream);
    case 6:
      return Attend<6>(call, stream);
    case 7:
      return Attend<7>(call, stream);
    default:
      return Attend<8>(call, stream);
  }
}

void LaunchAppend(const AttentionCall& call, cudaStream_t stream) {
  if (call.step.rows == 0 || call.kv_heads == 0) return;
  AppendKernel<<<static_cast<unsigned>(call.step.rows), 256, 0, stream>>>(call);
}

}  // namespace headgate
