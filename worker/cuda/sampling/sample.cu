// A row is read once for its peak, and again for what its parameters ask: a greedy row is done
// after the first reading, a draw without filters takes two more, one with filters as many as
// token_order.cuh needs (two, mostly). Later readings come from the caches.
#include <array>

#include "base/check.h"
#include "worker/batch.h"
#include "worker/cuda/device/launch.cuh"
#include "worker/cuda/sampling/sample.h"
#include "worker/cuda/sampling/token_order.cuh"

namespace headgate {
namespace {

constexpr double kLogWeightOne = 27.725887222397812;  // 40 ln 2
// For the best tokens, whatever they weigh: bins reach 113 nats below the peak.
constexpr float kTopBinsPerNat = 4.5f;

struct SampleMemory {
  TeamMemory team;
  LocateMemory locate;
  OrderMemory order;
};

// One row's work, done by all threads of a team alike.
class RowSampler {
 public:
  __device__ RowSampler(const SampleCall& call, SampleMemory& memory, RowTeam& team, int index)
      : memory_(memory), team_(team), row_(call.rows[index]), outcome_(call.outcomes[index]) {
    raw_.logits = call.logits + index * call.vocab;
    raw_.vocab = static_cast<int>(call.vocab);
    raw_.quads = call.vocab % 4 == 0 && reinterpret_cast<uintptr_t>(call.logits) % 16 == 0;
    lowered_ = raw_;
    if (row_.penalised == 0) return;
    lowered_.counts = call.counts + row_.place * call.vocab;
    lowered_.repetition = row_.repetition_penalty;
    lowered_.presence = row_.presence_penalty;
    lowered_.frequency = row_.frequency_penalty;
  }

  __device__ void Run(TokenId* last_tokens) {
    const bool logprobs = row_.sample != 0 && row_.top_logprobs >= 0;
    const bool scored = row_.target != -1;
    uint64_t peak = 0;
    double log_sum = 0.0;
    if (row_.penalised == 0 || logprobs || scored) peak = FindPeak(team_, raw_);
    if ((logprobs || scored) && peak != kNotFinite) {
      log_sum = logprobs && row_.top_logprobs > 0 ? ListTop(LogitOfRank(peak))
                                                  : LogSum(LogitOfRank(peak));
    }
    if (scored && Writes()) Score(peak, log_sum);
    if (row_.sample == 0) return;
    if (row_.penalised != 0) peak = FindPeak(team_, lowered_);
    TokenId token = TokenOfRank(peak);
    if (row_.scale > 0.0f && peak != kNotFinite) token = Draw(LogitOfRank(peak));
    if (!Writes()) return;
    const bool failed = peak == kNotFinite;
    if (failed) token = kTokenOfFailed;
    outcome_.failed = failed;
    outcome_.token = token;
    outcome_.logprob =
        logprobs && !failed ? static_cast<float>(raw_.logits[token] - log_sum) : 0.0f;
    outcome_.top_count = logprobs ? TopCount() : 0;
    last_tokens[row_.place] = token;  // the outcome may be in the host's memory
  }

 private:
  __device__ bool Writes() const { return team_.leads() && threadIdx.x == 0; }
  __device__ int TopCount() const { return min(row_.top_logprobs, raw_.vocab); }
  __device__ static double LogSumOf(float peak, uint64_t mass) {
    return peak + (log(static_cast<double>(mass)) - kLogWeightOne);
  }

  // log(sum(exp(logits)))
  __device__ double LogSum(float peak) {
    const TokenWeights weights{peak, 1.0f};
    uint64_t mass = 0;
    ForEachLogit(team_, raw_, [&](int, float logit, bool exists) {
      if (exists) mass += weights.Of(logit);
    });
    return LogSumOf(peak, team_.Sum(mass));
  }

  // The same, and the best tokens with their log-probabilities.
  __device__ double ListTop(float peak) {
    TokenOrder order(memory_.order, memory_.locate, team_, raw_, {peak, 1.0f, kTopBinsPerNat});
    order.Count(0.0f);
    const double log_sum = LogSumOf(peak, order.mass());
    const int count = TopCount();
    const int thread = threadIdx.x;
    if (order.ListFirst(static_cast<uint64_t>(count))) {
      if (team_.leads() && thread < count) WriteTop(thread, order.rank_at(thread), log_sum);
    } else {
      uint64_t rank = kNotFinite;
      for (int i = 0; i < count; ++i) {
        rank = FindNext(team_, raw_, rank);
        if (Writes()) WriteTop(i, rank, log_sum);
      }
    }
    team_.Sync();  // the list is free
    return log_sum;
  }
  __device__ void WriteTop(int i, uint64_t rank, double log_sum) {
    outcome_.top_tokens[i] = TokenOfRank(rank);
    outcome_.top_logprobs[i] = static_cast<float>(LogitOfRank(rank) - log_sum);
  }

  __device__ void Score(uint64_t peak, double log_sum) {
    const bool failed = peak == kNotFinite || row_.target < 0 || row_.target >= raw_.vocab;
    outcome_.score_failed = failed;
    outcome_.score_logprob = failed ? 0.0f : static_cast<float>(raw_.logits[row_.target] - log_sum);
    outcome_.score_top = failed ? 0 : TokenOfRank(peak);
  }

  // Below `mass`, at this row's share of it.
  __device__ uint64_t Target(uint64_t mass) const {
    const auto target = static_cast<uint64_t>(row_.uniform * static_cast<double>(mass));
    return min(target, mass - 1);
  }

  // On the leader. Draws in the order of ids where the host does: without a cut by order.
  __device__ TokenId Draw(float peak) {
    const TokenWeights weights{peak, row_.scale};
    const bool limit_k = row_.top_k > 0 && row_.top_k < raw_.vocab;
    const bool limit_p = row_.top_p < 1.0f;
    const auto k = static_cast<uint64_t>(row_.top_k);
    TokenOrder order(memory_.order, memory_.locate, team_, lowered_, weights);
    OrderPrefix likely;
    bool by_id = !limit_k && !limit_p;
    if (!by_id) {
      likely = order.Count(row_.min_p);
      by_id = !limit_p && row_.min_p > 0.0f && likely.count <= k;
    }
    if (by_id) return DrawById(weights);
    // Every filter keeps a prefix, so its mass says which. Tokens in no bin weigh nothing.
    uint64_t kept = order.mass();
    if (limit_k && k < order.count()) kept = order.Find({k, 0}, false).mass;
    if (limit_p) {
      const double share = ceil(static_cast<double>(row_.top_p) * static_cast<double>(kept));
      const uint64_t wanted = min(max(static_cast<uint64_t>(share), uint64_t{1}), kept);
      kept = order.Find({0, wanted}, false).mass;
    }
    kept = min(kept, likely.mass);
    return order.Find({0, Target(kept) + 1}, true).token;
  }
  // Of all tokens that min_p keeps.
  __device__ TokenId DrawById(const TokenWeights& weights) {
    const auto measure = [&](float logit) {
      const float weight = expf(weights.Exponent(logit));
      return weight >= row_.min_p ? TokenWeights::Fixed(weight) : uint64_t{0};
    };
    return FindById(team_, memory_.locate, lowered_, measure,
                    [this](uint64_t mass) { return Target(mass); });
  }

  SampleMemory& memory_;
  RowTeam& team_;
  const SampleRow row_;
  SampleOutcome& outcome_;
  RowReader raw_;
  RowReader lowered_;  // by penalties
};

__global__ void __launch_bounds__(kTeamThreads, 1) SampleKernel(SampleCall call) {
  __shared__ SampleMemory memory;
  LetNextKernelStart();
  AwaitEarlierKernels();
  RowTeam team(memory.team);
  RowSampler sampler(call, memory, team, static_cast<int>(blockIdx.x) / team.size());
  sampler.Run(call.last_tokens);
  team.Sync();  // the others may read this block's memory until then
}

__global__ void CountTokensKernel(const FedToken* fed, int32_t fed_count,
                                  const TokenId* last_tokens, int64_t vocab, uint16_t* counts) {
  LetNextKernelStart();
  AwaitEarlierKernels();
  const int64_t i = blockIdx.x * static_cast<int64_t>(blockDim.x) + threadIdx.x;
  if (i >= fed_count) return;
  const FedToken one = fed[i];
  const TokenId token = one.token == kLastSampled ? last_tokens[one.place] : one.token;
  if (token < 0 || token >= vocab) return;
  // Two counts share the word that atomics work on.
  const int64_t at = one.place * vocab + token;
  uint32_t* word = reinterpret_cast<uint32_t*>(counts) + at / 2;
  const uint32_t shift = at % 2 == 0 ? 0 : 16;
  if (one.in_prompt != 0) {
    atomicOr(word, RowReader::kInPrompt << shift);
    return;
  }
  constexpr uint32_t kMost = RowReader::kInPrompt - 1;
  uint32_t seen = *word, expected;
  do {
    expected = seen;
    if ((expected >> shift & kMost) == kMost) return;
    seen = atomicCAS(word, expected, expected + (1u << shift));
  } while (seen != expected);
}

// For LaunchSample, without its rows. `attributes` must live as long.
cudaLaunchConfig_t TeamConfig(unsigned blocks, cudaLaunchAttribute (&attributes)[2]) {
  attributes[0].id = cudaLaunchAttributeClusterDimension;
  attributes[0].val.clusterDim.x = blocks;
  attributes[0].val.clusterDim.y = 1;
  attributes[0].val.clusterDim.z = 1;
  attributes[1].id = cudaLaunchAttributeProgrammaticStreamSerialization;
  attributes[1].val.programmaticStreamSerializationAllowed = 1;
  cudaLaunchConfig_t config = {};
  config.gridDim = dim3(blocks);
  config.blockDim = dim3(kTeamThreads);
  config.attrs = attributes;
  config.numAttrs = ComputeCapabilityMajor() >= 9 ? 2 : 0;
  return config;
}

// How many teams of 2^i blocks the GPU can run at once: its processors come in groups that no team
// reaches across. Asked for once.
int TeamsAtOnce(int i) {
  static const std::array<int, 4> teams = [] {
    std::array<int, 4> counts = {};
    for (size_t log = 0; log < counts.size(); ++log) {
      cudaLaunchAttribute attributes[2] = {};
      cudaLaunchConfig_t config = TeamConfig(1u << log, attributes);
      config.numAttrs = 1;
      const cudaError_t error = cudaOccupancyMaxActiveClusters(&counts[log], SampleKernel, &config);
      if (error == cudaSuccess) continue;
      counts[log] = 0;
      cudaGetLastError();  // said: the next caller must not find it
    }
    return counts;
  }();
  return teams[static_cast<size_t>(i)];
}

// As many blocks for a row as the GPU has to spare and the row has work for.
unsigned TeamBlocks(const SampleCall& call) {
  if (ComputeCapabilityMajor() < 9) return 1;
  static_assert(kTeamBlocksMax == 1 << 3);
  int log = 3;
  while (log > 0 &&
         (call.count > TeamsAtOnce(log) || call.vocab < (int64_t{kTeamThreads} * 4 << log))) {
    --log;
  }
  return 1u << log;
}

}  // namespace

void LaunchSample(const SampleCall& call, cudaStream_t stream) {
  if (call.count == 0) return;
  CHECK_LE(call.vocab, kSampleVocabMax) << "LaunchSample";
  const unsigned blocks = TeamBlocks(call);
  cudaLaunchAttribute attributes[2] = {};
  cudaLaunchConfig_t config = TeamConfig(blocks, attributes);
  config.gridDim = dim3(blocks * static_cast<unsigned>(call.count));
  config.stream = stream;
  cudaLaunchKernelEx(&config, SampleKernel, call);
}

void LaunchCountTokens(const FedToken* fed, int32_t fed_count, const TokenId* last_tokens,
                       int64_t vocab, uint16_t* counts, cudaStream_t stream) {
  if (fed_count == 0) return;
  constexpr int32_t kThreads = 128;
  LaunchOverlapping(CountTokensKernel, static_cast<unsigned>((fed_count + kThreads - 1) / kThreads),
                    kThreads, 0, stream, fed, fed_count, last_tokens, vocab, counts);
}

}  // namespace headgate
