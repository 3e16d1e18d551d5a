// The tokens of one row in the order of their logits (equal ones by id), without sorting more of
// them than a question needs. Weights are fixed-point numbers, so that their sums are exact: which
// token a cut falls on does not depend on the order of additions. Device code.
//
// One pass over the row counts tokens and adds up their weights in kBins bins of (peak - logit).
// A search finds its bin, then its token in a sorted list of all tokens down to that bin; where
// these are too many, in a list of the bin's own; where even these are too many (many logits nearly
// or exactly equal), by their bits, 8 at a time.
#pragma once

#include "worker/cuda/sampling/row_team.cuh"

namespace headgate {

inline constexpr int kBins = 512;
inline constexpr int kListMax = 4 * kTeamThreads;
inline constexpr float kWeightOne = 1099511627776.0f;  // 2^40: the weight of the peak
// Bins down to where weights are 0: 2^-41 is e^-28.4.
inline constexpr float kBinsPerNat = 18.0f;

// exp((logit - peak) * scale), fixed point.
struct TokenWeights {
  float peak = 0.0f;
  float scale = 0.0f;  // 1 / temperature
  float bins_per_nat = kBinsPerNat;

  __device__ float Exponent(float logit) const { return (logit - peak) * scale; }
  // kBins or more: in no bin.
  __device__ int Bin(float logit) const {
    return __float2int_rz(Exponent(logit) * -bins_per_nat);  // saturates
  }
  __device__ static uint64_t Fixed(float weight) { return __float2ull_rn(weight * kWeightOne); }
  __device__ uint64_t Of(float logit) const { return Fixed(expf(Exponent(logit))); }
};

// What a prefix of the order shall reach; at least one token.
struct OrderGoal {
  uint64_t count = 0;
  uint64_t mass = 0;

  __device__ bool ReachedBy(uint64_t prefix_count, uint64_t prefix_mass) const {
    return prefix_count >= count && prefix_mass >= mass;
  }
};

// The shortest prefix that reaches a goal, and its last token.
struct OrderPrefix {
  uint64_t count = 0;
  uint64_t mass = 0;
  TokenId token = -1;
};

struct OrderMemory {
  uint32_t count[kBins], low[kBins], high[kBins];  // of this block's part of the row
  uint32_t counts_to[kBins];                       // of the row: this bin and those before it
  uint64_t masses_to[kBins];
  uint64_t list[kListMax];  // of the leader: ~rank, ascending
  uint32_t listed;
  int bin;
  OrderPrefix digit;     // of FindByBits: before it; its token is the digit
  OrderPrefix found[2];  // by turns
};

class TokenOrder {
 public:
  __device__ TokenOrder(OrderMemory& memory, LocateMemory& locate, RowTeam& team,
                        const RowReader& row, const TokenWeights& weights)
      : memory_(memory), locate_(locate), team_(team), row_(row), weights_(weights) {}

  // The pass over the row, before anything else. Returns number and mass of the tokens in bins
  // whose weights are at least `min`.
  __device__ OrderPrefix Count(float min) {
    ClearBins();
    uint64_t mass = 0, tokens = 0;
    ForEachLogit(team_, row_, [&](int, float logit, bool exists) {
      const int bin = weights_.Bin(logit);
      if (!exists || bin >= kBins) return;
      const float weight = expf(weights_.Exponent(logit));
      const uint64_t fixed = TokenWeights::Fixed(weight);
      AddToBin(bin, fixed);
      if (weight < min) return;
      mass += fixed;
      ++tokens;
    });
    const BinSums sums = SumBins();
    if (threadIdx.x < kBins) {
      memory_.counts_to[threadIdx.x] = static_cast<uint32_t>(sums.count_to);
      memory_.masses_to[threadIdx.x] = sums.mass_to;
    }
    if (!(min > 0.0f)) {
      __syncthreads();
      return {count(), this->mass(), -1};
    }
    tokens = team_.Sum(tokens);
    return {tokens, team_.Sum(mass), -1};
  }

  // Of all tokens in bins.
  __device__ uint64_t count() const { return memory_.counts_to[kBins - 1]; }
  __device__ uint64_t mass() const { return memory_.masses_to[kBins - 1]; }

  // REQUIRES: all tokens in bins reach the goal. The token is set on the leader; FindById's memory
  // is used for it.
  __device__ OrderPrefix Find(const OrderGoal& goal, bool with_token) {
    const int bin = FindBin(goal);
    if (bin < listed_from_ || bin > listed_to_) {
      if (memory_.counts_to[bin] <= kListMax) {
        List(0, bin);
      } else if (memory_.counts_to[bin] - CountBefore(bin) <= kListMax) {
        List(bin, bin);
      } else {
        return FindByBits(goal, bin, with_token);
      }
    }
    return FindInList(goal);
  }

  // Puts the first `count` tokens into the list, for rank_at on the leader. False when they are not
  // in bins or come with too many others.
  __device__ bool ListFirst(uint64_t first) {
    if (count() < first) return false;
    const int bin = FindBin({first, 0});
    if (memory_.counts_to[bin] > kListMax) return false;
    List(0, bin);
    return true;
  }
  __device__ uint64_t rank_at(int i) const { return ~memory_.list[i]; }

 private:
  __device__ uint32_t CountBefore(int bin) const {
    return bin == 0 ? 0 : memory_.counts_to[bin - 1];
  }
  __device__ uint64_t MassBefore(int bin) const {
    return bin == 0 ? 0 : memory_.masses_to[bin - 1];
  }

  __device__ void ClearBins() {
    for (int i = threadIdx.x; i < kBins; i += kTeamThreads) {
      memory_.count[i] = memory_.low[i] = memory_.high[i] = 0;
    }
    __syncthreads();
  }
  __device__ void AddToBin(int bin, uint64_t mass) {
    atomicAdd(&memory_.count[bin], 1u);
    const auto low = static_cast<uint32_t>(mass);
    const bool carries = atomicAdd(&memory_.low[bin], low) > ~low;
    const uint32_t high = static_cast<uint32_t>(mass >> 32) + (carries ? 1 : 0);
    if (high != 0) atomicAdd(&memory_.high[bin], high);
  }
  struct BinSums {
    uint64_t count = 0, mass = 0;        // of this thread's bin over the team
    uint64_t count_to = 0, mass_to = 0;  // and of those before it
  };
  // The bins are free afterwards.
  __device__ BinSums SumBins() {
    team_.Sync();
    BinSums sums;
    const int bin = threadIdx.x;
    for (int rank = 0; bin < kBins && rank < team_.size(); ++rank) {
      sums.count += *team_.In(&memory_.count[bin], rank);
      sums.mass += *team_.In(&memory_.low[bin], rank);
      sums.mass += static_cast<uint64_t>(*team_.In(&memory_.high[bin], rank)) << 32;
    }
    uint64_t total = 0;
    sums.count_to = team_.ScanBlock(sums.count, total);
    sums.mass_to = team_.ScanBlock(sums.mass, total);
    team_.Sync();
    return sums;
  }

  // The same in every block.
  __device__ int FindBin(const OrderGoal& goal) {
    const int bin = threadIdx.x;
    if (bin < kBins && goal.ReachedBy(memory_.counts_to[bin], memory_.masses_to[bin]) &&
        !goal.ReachedBy(CountBefore(bin), MassBefore(bin))) {
      memory_.bin = bin;
    }
    __syncthreads();
    const int found = memory_.bin;
    __syncthreads();
    return found;
  }

  // The leader's list := all tokens of bins `from` to `to`. REQUIRES: at most kListMax.
  __device__ void List(int from, int to) {
    if (team_.leads() && threadIdx.x == 0) memory_.listed = 0;
    team_.Sync();
    uint64_t* list = team_.In(memory_.list, 0);
    uint32_t* listed = team_.In(&memory_.listed, 0);
    const int lane = threadIdx.x % 32;
    ForEachLogit(team_, row_, [&](int id, float logit, bool exists) {
      const int bin = weights_.Bin(logit);
      const bool wanted = exists && from <= bin && bin <= to;
      const uint32_t lanes = __ballot_sync(~0u, wanted);
      if (lanes == 0) return;
      uint32_t at = 0;
      if (lane == 0) at = atomicAdd(listed, static_cast<uint32_t>(__popc(lanes)));
      at = __shfl_sync(~0u, at, 0) + static_cast<uint32_t>(__popc(lanes & ((1u << lane) - 1)));
      if (wanted) list[at] = ~RankOf(logit, id);
    });
    team_.Sync();
    listed_from_ = from;
    listed_to_ = to;
    if (team_.leads()) SortList();
  }

  // Batcher's bitonic sorter. Pairs at a distance of at most 32 stay with one warp.
  __device__ void SortList() {
    int size = 2;
    while (size < static_cast<int>(memory_.listed)) size *= 2;
    for (int i = static_cast<int>(memory_.listed + threadIdx.x); i < size; i += kTeamThreads) {
      memory_.list[i] = ~uint64_t{0};
    }
    __syncthreads();
    for (int run = 2; run <= size; run *= 2) {
      for (int apart = run / 2; apart > 0; apart /= 2) {
        for (int pair = threadIdx.x; pair < size / 2; pair += kTeamThreads) {
          const int a = 2 * (pair & ~(apart - 1)) + (pair & (apart - 1));
          const uint64_t first = memory_.list[a], second = memory_.list[a + apart];
          if ((first > second) == ((a & run) == 0)) {
            memory_.list[a] = second;
            memory_.list[a + apart] = first;
          }
        }
        const int next = apart > 1 ? apart / 2 : run;
        if (apart > 32 || next > 32) {
          __syncthreads();
        } else {
          __syncwarp();
        }
      }
    }
    __syncthreads();
  }

  __device__ OrderPrefix FindInList(const OrderGoal& goal) {
    turn_ ^= 1;
    if (team_.leads()) {
      constexpr int kEach = kListMax / kTeamThreads;
      const int first = static_cast<int>(threadIdx.x) * kEach;
      const int listed = static_cast<int>(memory_.listed);
      uint64_t masses[kEach], sum = 0, total = 0;
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        masses[j] = first + j < listed ? weights_.Of(LogitOfRank(rank_at(first + j))) : 0;
        sum += masses[j];
      }
      uint64_t mass = MassBefore(listed_from_) + team_.ScanBlock(sum, total) - sum;
      uint64_t count = CountBefore(listed_from_) + static_cast<uint64_t>(first);
#pragma unroll
      for (int j = 0; j < kEach; ++j) {
        if (first + j >= listed) break;
        const bool before = goal.ReachedBy(count, mass);
        mass += masses[j];
        ++count;
        if (!before && goal.ReachedBy(count, mass)) {
          memory_.found[turn_] = {count, mass, TokenOfRank(rank_at(first + j))};
        }
      }
    }
    team_.Sync();
    return *team_.In(&memory_.found[turn_], 0);
  }

  // Among the tokens of one bin, by 8 more bits of their keys at a time.
  __device__ OrderPrefix FindByBits(const OrderGoal& goal, int bin, bool with_token) {
    constexpr uint32_t kDigits = 256;
    uint64_t count = CountBefore(bin), mass = MassBefore(bin);  // of keys above those of `prefix`
    uint32_t prefix = 0;
    for (int shift = 24; shift >= 0; shift -= 8) {
      ClearBins();
      ForEachLogit(team_, row_, [&](int, float logit, bool exists) {
        const uint32_t key = KeyOf(logit);
        const bool same = shift == 24 || key >> (shift + 8) == prefix;
        if (!exists || !same || weights_.Bin(logit) != bin) return;
        AddToBin(static_cast<int>(~(key >> shift) % kDigits), weights_.Of(logit));
      });
      const BinSums sums = SumBins();
      const uint64_t count_to = count + sums.count_to, mass_to = mass + sums.mass_to;
      const uint64_t count_before = count_to - sums.count, mass_before = mass_to - sums.mass;
      if (threadIdx.x < kDigits && goal.ReachedBy(count_to, mass_to) &&
          !goal.ReachedBy(count_before, mass_before)) {
        memory_.digit = {count_before, mass_before, static_cast<TokenId>(threadIdx.x)};
      }
      __syncthreads();
      count = memory_.digit.count;
      mass = memory_.digit.mass;
      prefix = prefix << 8 | (kDigits - 1 - static_cast<uint32_t>(memory_.digit.token));
    }
    // Left are tokens with equal logits: as many of them as the goal needs, the lowest ids first.
    const uint64_t each = weights_.Of(LogitOf(prefix));
    uint64_t needed = goal.count > count ? goal.count - count : 1;
    if (each > 0 && goal.mass > mass) needed = max(needed, (goal.mass - mass + each - 1) / each);
    OrderPrefix found{count + needed, mass + needed * each, -1};
    if (with_token) {
      found.token = FindById(
          team_, locate_, row_,
          [prefix](float logit) { return uint64_t{KeyOf(logit) == prefix ? 1u : 0u}; },
          [needed](uint64_t) { return needed - 1; });
    }
    return found;
  }

  OrderMemory& memory_;
  LocateMemory& locate_;
  RowTeam& team_;
  const RowReader& row_;
  const TokenWeights weights_;
  int listed_from_ = 1;  // bins in the list: none
  int listed_to_ = 0;
  int turn_ = 0;
};

}  // namespace headgate
