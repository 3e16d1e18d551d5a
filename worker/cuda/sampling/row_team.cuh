// The blocks that work on one row of logits: one block, or a cluster whose blocks read each other's
// shared memory. Sums are of integers, so they do not depend on order or on the number of blocks.
// Device code.
#pragma once

#include <cooperative_groups.h>
#include <cuda_runtime.h>

#include <cfloat>
#include <cmath>
#include <cstdint>

#include "base/ids.h"

namespace headgate {

inline constexpr int kTeamThreads = 1024;  // of one block
inline constexpr int kTeamWarps = kTeamThreads / 32;
inline constexpr int kTeamBlocksMax = 8;

// In every block's shared memory.
struct TeamMemory {
  uint64_t of_warp[kTeamWarps];
  uint64_t posted[2];  // by turns: a block may be one turn ahead of its readers
};

class RowTeam {
 public:
  __device__ explicit RowTeam(TeamMemory& memory) : memory_(memory) {
#if __CUDA_ARCH__ >= 900
    rank_ = static_cast<int>(cooperative_groups::this_cluster().block_rank());
    size_ = static_cast<int>(cooperative_groups::this_cluster().num_blocks());
#endif
  }

  __device__ int size() const { return size_; }
  __device__ int rank() const { return rank_; }
  __device__ bool leads() const { return rank_ == 0; }

  // All threads of the team; what they wrote before, to shared memory too, is visible after it.
  __device__ void Sync() const {
#if __CUDA_ARCH__ >= 900
    cooperative_groups::this_cluster().sync();
#else
    __syncthreads();
#endif
  }
  // Where `own` lies in the shared memory of block `rank`. That block must not have ended.
  template <typename T>
  __device__ T* In(T* own, int rank) const {
#if __CUDA_ARCH__ >= 900
    return cooperative_groups::this_cluster().map_shared_rank(own, static_cast<unsigned>(rank));
#else
    return own;
#endif
  }

  // Over all threads of the team; every thread gets the result.
  __device__ uint64_t Sum(uint64_t value) {
    return Reduce(value, [](uint64_t a, uint64_t b) { return a + b; });
  }
  __device__ uint64_t Max(uint64_t value) {
    return Reduce(value, [](uint64_t a, uint64_t b) { return a > b ? a : b; });
  }

  // Sum over this thread and those before it in the block; `total`: over the block.
  __device__ uint64_t ScanBlock(uint64_t value, uint64_t& total) const {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = ScanWarp(value, lane);
    if (lane == 31) memory_.of_warp[warp] = value;
    __syncthreads();
    const uint64_t warps = ScanWarp(memory_.of_warp[lane], lane);
    total = __shfl_sync(~0u, warps, 31);
    const uint64_t before = __shfl_sync(~0u, warps, warp == 0 ? 0 : warp - 1);
    __syncthreads();
    return value + (warp == 0 ? 0 : before);
  }

 private:
  __device__ static uint64_t ScanWarp(uint64_t value, int lane) {
#pragma unroll
    for (int offset = 1; offset < 32; offset *= 2) {
      const uint64_t left = __shfl_up_sync(~0u, value, offset);
      if (lane >= offset) value += left;
    }
    return value;
  }
  template <typename Combine>
  __device__ static uint64_t ReduceWarp(uint64_t value, const Combine& combine) {
#pragma unroll
    for (int offset = 16; offset > 0; offset /= 2) {
      value = combine(value, __shfl_xor_sync(~0u, value, offset));
    }
    return value;
  }
  template <typename Combine>
  __device__ uint64_t Reduce(uint64_t value, const Combine& combine) {
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    value = ReduceWarp(value, combine);
    if (lane == 0) memory_.of_warp[warp] = value;
    __syncthreads();
    turn_ ^= 1;
    if (warp == 0) {
      value = ReduceWarp(memory_.of_warp[lane], combine);
      if (lane == 0) memory_.posted[turn_] = value;
    }
    Sync();
    uint64_t result = *In(&memory_.posted[turn_], 0);
    for (int rank = 1; rank < size_; ++rank) {
      result = combine(result, *In(&memory_.posted[turn_], rank));
    }
    return result;
  }

  TeamMemory& memory_;
  int rank_ = 0;
  int size_ = 1;
  int turn_ = 0;
};

// Four neighbouring logits.
struct LogitQuad {
  float at[4];
};

// One row as it is sampled: `counts`, if not null, lowers the logits of tokens that occurred
// (worker/sampling/penalties.h).
struct RowReader {
  static constexpr uint32_t kInPrompt = 0x8000;  // the top bit of a count; the rest: of the output

  const float* logits = nullptr;     // [vocab]
  const uint16_t* counts = nullptr;  // [vocab]
  int vocab = 0;
  bool quads = false;  // rows begin at multiples of 16 bytes
  float repetition = 1.0f;
  float presence = 0.0f;
  float frequency = 0.0f;

  // Rounded as the host rounds.
  __device__ float Lowered(float logit, uint32_t count) const {
    if (count == 0) return logit;
    logit = logit > 0 ? logit / repetition : __fmul_rn(logit, repetition);
    const uint32_t said = count & ~kInPrompt;
    if (said == 0) return logit;
    return __fsub_rn(logit, __fadd_rn(__fmul_rn(frequency, static_cast<float>(said)), presence));
  }

  // Logits i to i + 3, i a multiple of 4; 0 from `end` on.
  __device__ LogitQuad Quad(int i, int end) const {
    LogitQuad quad = {};
    if (i >= end) return quad;
    if (quads) {
      const float4 four = *reinterpret_cast<const float4*>(logits + i);
      quad = {four.x, four.y, four.z, four.w};
      if (counts != nullptr) {
        const ushort4 seen = *reinterpret_cast<const ushort4*>(counts + i);
        quad = {Lowered(quad.at[0], seen.x), Lowered(quad.at[1], seen.y),
                Lowered(quad.at[2], seen.z), Lowered(quad.at[3], seen.w)};
      }
      return quad;
    }
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (i + j >= end) continue;
      quad.at[j] = logits[i + j];
      if (counts != nullptr) quad.at[j] = Lowered(quad.at[j], counts[i + j]);
    }
    return quad;
  }
};

// A row is cut into one segment per warp of the team, in order.
__device__ __forceinline__ int SegmentLength(const RowTeam& team, int vocab) {
  constexpr int kUnit = 128;  // what a warp reads at once
  const int segments = team.size() * kTeamWarps;
  return ((vocab + segments - 1) / segments + kUnit - 1) / kUnit * kUnit;
}

// visit(id, logit, exists) for this warp's segment, by all lanes together. Many quads are read
// before the first is visited.
template <typename Visit>
__device__ __forceinline__ void ForEachLogit(const RowTeam& team, const RowReader& row,
                                             const Visit& visit) {
  constexpr int kAhead = 4;
  const int length = SegmentLength(team, row.vocab);
  const int segment = team.rank() * kTeamWarps + static_cast<int>(threadIdx.x) / 32;
  const int64_t first = static_cast<int64_t>(segment) * length;
  if (first >= row.vocab) return;
  const int begin = static_cast<int>(first);
  const int end = row.vocab - begin < length ? row.vocab : begin + length;
  const int lane = threadIdx.x % 32;
  for (int base = begin; base < end; base += kAhead * 128) {
    LogitQuad ahead[kAhead];
#pragma unroll
    for (int u = 0; u < kAhead; ++u) ahead[u] = row.Quad(base + u * 128 + lane * 4, end);
#pragma unroll
    for (int u = 0; u < kAhead; ++u) {
      if (base + u * 128 >= end) break;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int id = base + u * 128 + lane * 4 + j;
        visit(id, ahead[u].at[j], id < end);
      }
    }
  }
}

// Ascends with the logit; -0 and 0 are equal.
__device__ __forceinline__ uint32_t KeyOf(float logit) {
  const uint32_t bits = __float_as_uint(logit + 0.0f);
  return bits ^ (static_cast<uint32_t>(static_cast<int32_t>(bits) >> 31) | 0x80000000u);
}
__device__ __forceinline__ float LogitOf(uint32_t key) {
  return __uint_as_float((key & 0x80000000u) != 0 ? key ^ 0x80000000u : ~key);
}

// A token's place in the order of tokens: the higher the better, of equal logits the lowest id.
__device__ __forceinline__ uint64_t RankOf(float logit, TokenId id) {
  return static_cast<uint64_t>(KeyOf(logit)) << 32 | ~static_cast<uint32_t>(id);
}
__device__ __forceinline__ TokenId TokenOfRank(uint64_t rank) {
  return static_cast<TokenId>(~static_cast<uint32_t>(rank));
}
__device__ __forceinline__ float LogitOfRank(uint64_t rank) {
  return LogitOf(static_cast<uint32_t>(rank >> 32));
}

inline constexpr uint64_t kNotFinite = ~uint64_t{0};  // no finite logit has this rank

// The best rank; kNotFinite when some logit is not finite.
__device__ inline uint64_t FindPeak(RowTeam& team, const RowReader& row) {
  float best = -INFINITY;
  TokenId token = -1;
  bool finite = true;
  ForEachLogit(team, row, [&](int id, float logit, bool exists) {
    finite = finite && (!exists || fabsf(logit) <= FLT_MAX);
    if (exists && logit > best) {
      best = logit;
      token = id;
    }
  });
  return team.Max(!finite ? kNotFinite : token < 0 ? 0 : RankOf(best, token));
}

// The best rank below `below`; 0 when there is none.
__device__ inline uint64_t FindNext(RowTeam& team, const RowReader& row, uint64_t below) {
  uint64_t best = 0;
  ForEachLogit(team, row, [&](int id, float logit, bool exists) {
    const uint64_t rank = RankOf(logit, id);
    if (exists && rank < below && rank > best) best = rank;
  });
  return team.Max(best);
}

struct LocateMemory {
  uint64_t sums[kTeamWarps];  // of this block's segments
  uint64_t left;
  int segment;
  TokenId token;
};

// measure(logit) is added up in the order of ids; the token where the sum first exceeds
// target_of(sum over the row). On the leader; undefined elsewhere. Once in a kernel.
template <typename Measure, typename TargetOf>
__device__ inline TokenId FindById(RowTeam& team, LocateMemory& memory, const RowReader& row,
                                   const Measure& measure, const TargetOf& target_of) {
  uint64_t sum = 0;
  ForEachLogit(team, row, [&](int, float logit, bool exists) {
    if (exists) sum += measure(logit);
  });
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) sum += __shfl_xor_sync(~0u, sum, offset);
  const int thread = threadIdx.x;
  if (thread % 32 == 0) memory.sums[thread / 32] = sum;
  team.Sync();
  if (!team.leads()) return -1;
  // Which segment?
  uint64_t total = 0;
  const uint64_t own = thread < team.size() * kTeamWarps
                           ? *team.In(&memory.sums[thread % kTeamWarps], thread / kTeamWarps)
                           : 0;
  const uint64_t to = team.ScanBlock(own, total);
  const uint64_t target = target_of(total);
  if (to > target && to - own <= target) {
    memory.segment = thread;
    memory.left = target - (to - own);
  }
  __syncthreads();
  // Which token of it?
  uint64_t left = memory.left;
  const int length = SegmentLength(team, row.vocab);
  const int begin = memory.segment * length;
  const int end = row.vocab - begin < length ? row.vocab : begin + length;
  for (int base = begin; base < end; base += kTeamThreads * 4) {
    const int i = base + thread * 4;
    const LogitQuad quad = row.Quad(i, end);
    uint64_t masses[4], mass = 0;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      masses[j] = i + j < end ? measure(quad.at[j]) : 0;
      mass += masses[j];
    }
    const uint64_t quads_to = team.ScanBlock(mass, total);
    if (left >= total) {
      left -= total;
      continue;
    }
    uint64_t before = quads_to - mass;
#pragma unroll
    for (int j = 0; j < 4; ++j) {
      if (before <= left && left < before + masses[j]) memory.token = i + j;
      before += masses[j];
    }
    break;
  }
  __syncthreads();
  return memory.token;
}

}  // namespace headgate
