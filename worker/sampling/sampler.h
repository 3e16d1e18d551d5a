// From one row of logits to one token. One step thread owns a Sampler; it holds scratch memory
// only, the result depends on the arguments alone.
//
// Order of operations (as Hugging Face's logits processors and warpers): repetition, frequency and
// presence penalty; temperature; top-k; top-p; min-p; draw. Each filter keeps a prefix of the
// tokens sorted by logit, equal logits by id:
//   top-k  the first k;
//   top-p  the shortest prefix of those whose share of their probability reaches p, at least one;
//   min-p  tokens at least min_p times as probable as the first.
// Temperature 0 takes the first token after the penalties. Log-probabilities are those of the
// model: softmax of the raw logits, before any of this.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "base/ids.h"
#include "base/sampling_params.h"
#include "base/step.h"
#include "worker/sampling/penalties.h"

namespace headgate {

struct SampledToken {
  bool failed = false;   // a logit was not finite; the other fields mean nothing
  TokenId token = 0;     // in [0, logits.size())
  float logprob = 0.0f;  // 0 unless params.top_logprobs >= 0
  std::vector<TokenLogprob> top;
};

struct ScoredToken {
  bool failed = false;
  float logprob = 0.0f;  // of the target
  TokenId top = 0;       // the model's own first choice
};

class Sampler {
 public:
  // `history` may be null when the params have no penalties. `token_index` counts the tokens of the
  // client's stream: with the seed it fixes the random draw.
  SampledToken Sample(std::span<const float> logits, const SamplingParams& params,
                      const TokenHistory* history, int64_t token_index);

  // Log-probability of `target`; failed when it is not a token of the row.
  ScoredToken Score(std::span<const float> logits, TokenId target);

 private:
  struct Candidate {
    float logit;
    TokenId token;
  };

  TokenId Draw(std::span<const float> logits, float peak, const SamplingParams& params,
               double uniform);
  TokenId DrawFromAll(double sum, double uniform) const;
  size_t SortBest(size_t count);
  size_t KeepTopP(size_t kept, double sum, const SamplingParams& params);
  void FindTop(std::span<const float> logits, double log_sum, int32_t count,
               std::vector<TokenLogprob>& top);

  std::vector<float> penalised_;
  std::vector<float> weights_;  // exp((logit - peak) / temperature)
  std::vector<Candidate> candidates_;
};

}  // namespace headgate
