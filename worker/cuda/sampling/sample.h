// Sampling from logits in device memory: what worker/sampling/sampler.h defines, row by row. The
// same bits on every run, whatever other rows there are; a draw differs from the host's only where
// rounding of the weights (about 1e-6 of their sum) moves a boundary across it.
//
// Launchers are asynchronous on `stream`; a launch error is what cudaGetLastError says. What a
// step reads and differs from another's of as many rows lies in device memory.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>

#include "base/ids.h"

namespace headgate {

inline constexpr int kTopLogprobsMax = 20;

// So that the weights of a row, 2^40 each at most, add up in 64 bits (token_order.cuh).
inline constexpr int64_t kSampleVocabMax = (int64_t{1} << 24) - 1;

// What is wanted of one row.
struct SampleRow {
  double uniform = 0.0;  // the draw, in [0, 1)
  int32_t place = 0;     // of its sequence, when it is sampled
  int32_t sample = 0;    // a token is wanted
  TokenId target = -1;   // whose log-probability is wanted; -1: none
  float scale = 0.0f;    // 1 / temperature, finite; 0 = greedy
  int32_t top_k = 0;     // these as in SamplingParams
  float top_p = 1.0f;
  float min_p = 0.0f;
  int32_t penalised = 0;  // the penalties count
  float repetition_penalty = 1.0f;
  float presence_penalty = 0.0f;
  float frequency_penalty = 0.0f;
  int32_t top_logprobs = -1;
};

// SampledToken and ScoredToken of one row.
struct SampleOutcome {
  int32_t failed = 0;
  TokenId token = 0;
  float logprob = 0.0f;
  int32_t score_failed = 0;
  float score_logprob = 0.0f;
  TokenId score_top = 0;
  int32_t top_count = 0;
  TokenId top_tokens[kTopLogprobsMax];
  float top_logprobs[kTopLogprobsMax];
};

struct SampleCall {
  const float* logits = nullptr;      // [count, vocab]
  const SampleRow* rows = nullptr;    // [count]
  const uint16_t* counts = nullptr;   // [places, vocab]: see LaunchCountTokens; null: no penalties
  TokenId* last_tokens = nullptr;     // [places]: the sampled tokens; of failed rows kTokenOfFailed
  SampleOutcome* outcomes = nullptr;  // [count], on the device or pinned
  int64_t vocab = 0;                  // at most kSampleVocabMax
  int32_t count = 0;
};

void LaunchSample(const SampleCall& call, cudaStream_t stream);

// A token that a sequence with penalties is fed.
struct FedToken {
  int32_t place = 0;
  TokenId token = 0;      // kLastSampled: of last_tokens; outside the vocabulary: not counted
  int32_t in_prompt = 0;  // else of the output
};

// Counts the tokens. A count's top bit: the token occurs in the prompt; the other 15: how often in
// the output, at most 32,767.  counts [places, vocab], begins at a multiple of 4 bytes
void LaunchCountTokens(const FedToken* fed, int32_t fed_count, const TokenId* last_tokens,
                       int64_t vocab, uint16_t* counts, cudaStream_t stream);

}  // namespace headgate
