#include "worker/sampling/sampler.h"

#include <algorithm>

#include "worker/sampling/philox.h"
#include "worker/sampling/softmax.h"

namespace headgate {
namespace {

// Ties of equal probability go to the lowest id, so the order is total.
template <typename T>
bool Better(const T& a, const T& b) {
  return a.logit > b.logit || (a.logit == b.logit && a.token < b.token);
}

}  // namespace

SampledToken Sampler::Sample(std::span<const float> logits, const SamplingParams& params,
                             const TokenHistory* history, int64_t token_index) {
  SampledToken result;
  Peak peak = FindPeak(logits);
  if (!peak.finite) {
    result.failed = true;
    return result;
  }
  double log_sum = 0.0;
  if (params.top_logprobs >= 0) {
    log_sum = LogSumExp(logits, peak.logit, weights_);
    FindTop(logits, log_sum, params.top_logprobs, result.top);
  }
  std::span<const float> row = logits;
  if (history != nullptr && TokenHistory::Needed(params)) {
    penalised_.assign(logits.begin(), logits.end());
    history->Penalise(params, penalised_);
    row = penalised_;
    peak = FindPeak(row);
    if (!peak.finite) {
      result.failed = true;
      return result;
    }
  }
  result.token = peak.token;
  if (params.temperature > 0.0f) {
    result.token = Draw(row, peak.logit, params, UniformForToken(params.seed, token_index));
  }
  if (params.top_logprobs >= 0) {
    result.logprob = static_cast<float>(logits[static_cast<size_t>(result.token)] - log_sum);
  }
  return result;
}

ScoredToken Sampler::Score(std::span<const float> logits, TokenId target) {
  const Peak peak = FindPeak(logits);
  if (!peak.finite || target < 0 || static_cast<size_t>(target) >= logits.size()) {
    return {.failed = true};
  }
  const double log_sum = LogSumExp(logits, peak.logit, weights_);
  return {.failed = false,
          .logprob = static_cast<float>(logits[static_cast<size_t>(target)] - log_sum),
          .top = peak.token};
}

TokenId Sampler::Draw(std::span<const float> logits, float peak, const SamplingParams& params,
                      double uniform) {
  const double scale = 1.0 / static_cast<double>(params.temperature);
  const double sum = ExpAndSum(logits, peak, scale, weights_);
  const size_t vocab = logits.size();
  const bool limit_k = params.top_k > 0 && static_cast<size_t>(params.top_k) < vocab;
  const bool limit_p = params.top_p < 1.0f;
  if (!limit_k && !limit_p && !(params.min_p > 0.0f)) return DrawFromAll(sum, uniform);

  // min-p compares with the peak, whose weight is 1: what it drops needs no sorting.
  candidates_.clear();
  for (size_t i = 0; i < vocab; ++i) {
    if (params.min_p > 0.0f && !limit_p && weights_[i] < params.min_p) continue;
    candidates_.push_back({logits[i], static_cast<TokenId>(i)});
  }
  size_t kept = candidates_.size();
  double kept_sum = sum;
  if (limit_k && static_cast<size_t>(params.top_k) < kept) {
    kept = SortBest(static_cast<size_t>(params.top_k));
    candidates_.resize(kept);
    kept_sum = 0.0;
    for (const Candidate& c : candidates_) kept_sum += weights_[static_cast<size_t>(c.token)];
  }
  if (limit_p) kept = KeepTopP(kept, kept_sum, params);
  double total = 0.0;
  for (size_t i = 0; i < kept; ++i) {
    const float weight = weights_[static_cast<size_t>(candidates_[i].token)];
    if (weight < params.min_p) {  // only after top-p, so sorted: the rest is smaller still
      kept = i;
      break;
    }
    total += weight;
  }
  double left = uniform * total;
  for (size_t i = 0; i + 1 < kept; ++i) {
    left -= weights_[static_cast<size_t>(candidates_[i].token)];
    if (left < 0.0) return candidates_[i].token;
  }
  return candidates_[kept - 1].token;
}

TokenId Sampler::DrawFromAll(double sum, double uniform) const {
  double left = uniform * sum;
  size_t last = 0;
  for (size_t i = 0; i < weights_.size(); ++i) {
    if (weights_[i] == 0.0f) continue;
    last = i;
    left -= weights_[i];
    if (left < 0.0) break;
  }
  return static_cast<TokenId>(last);
}

// Moves the `count` best candidates to the front, in order; returns how many there are.
size_t Sampler::SortBest(size_t count) {
  count = std::min(count, candidates_.size());
  const auto middle = candidates_.begin() + static_cast<std::ptrdiff_t>(count);
  std::nth_element(candidates_.begin(), middle - 1, candidates_.end(), Better<Candidate>);
  std::sort(candidates_.begin(), middle, Better<Candidate>);
  return count;
}

// The best candidates, sorted, up to the first prefix that holds top_p of `sum`. Sorts no more than
// needed: most rows have their mass in a few tokens.
size_t Sampler::KeepTopP(size_t kept, double sum, const SamplingParams& params) {
  const double wanted = static_cast<double>(params.top_p) * sum;
  for (size_t count = 256;; count *= 8) {
    const size_t sorted = SortBest(std::min(count, kept));
    double mass = 0.0;
    for (size_t i = 0; i < sorted; ++i) {
      mass += weights_[static_cast<size_t>(candidates_[i].token)];
      if (mass >= wanted) return i + 1;
    }
    if (sorted == kept) return kept;
  }
}

void Sampler::FindTop(std::span<const float> logits, double log_sum, int32_t count,
                      std::vector<TokenLogprob>& top) {
  if (count <= 0) return;
  const size_t wanted = std::min(static_cast<size_t>(count), logits.size());
  candidates_.clear();  // a heap with the worst of the best in front
  for (size_t i = 0; i < logits.size(); ++i) {
    const Candidate candidate{logits[i], static_cast<TokenId>(i)};
    if (candidates_.size() < wanted) {
      candidates_.push_back(candidate);
      std::push_heap(candidates_.begin(), candidates_.end(), Better<Candidate>);
    } else if (Better(candidate, candidates_.front())) {
      std::pop_heap(candidates_.begin(), candidates_.end(), Better<Candidate>);
      candidates_.back() = candidate;
      std::push_heap(candidates_.begin(), candidates_.end(), Better<Candidate>);
    }
  }
  std::sort_heap(candidates_.begin(), candidates_.end(), Better<Candidate>);
  for (const Candidate& c : candidates_) {
    top.push_back({c.token, static_cast<float>(c.logit - log_sum)});
  }
}

}  // namespace headgate
