// What a sequence has said so far, and how that lowers logits. One step thread owns a history.
//
// For every token that occurs in prompt or output (Keskar et al., "CTRL", 2019, section 4.1):
//   logit = logit > 0 ? logit / repetition_penalty : logit * repetition_penalty
// then for every token of the output (the OpenAI API's definition):
//   logit -= frequency_penalty * occurrences + presence_penalty
#pragma once

#include <cstdint>
#include <span>

#include "absl/container/flat_hash_map.h"
#include "base/ids.h"
#include "base/sampling_params.h"

namespace headgate {

class TokenHistory {
 public:
  // Sequences without penalties need no history.
  static bool Needed(const SamplingParams& params);

  void AddPrompt(TokenId token) { counts_.try_emplace(token, 0); }
  void AddOutput(TokenId token) { ++counts_[token]; }

  // Changes the logits of tokens that occurred; ids outside the row are ignored.
  void Penalise(const SamplingParams& params, std::span<float> logits) const;

 private:
  absl::flat_hash_map<TokenId, int32_t> counts_;  // occurrences in the output; 0 = prompt only
};

}  // namespace headgate
