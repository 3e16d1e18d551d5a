// How one request wants its tokens chosen. Validated once, at the server's edge.
#pragma once

#include <cstdint>

namespace headgate {

struct SamplingParams {
  float temperature = 0.0f;         // 0 = greedy; [0, 100]
  int32_t top_k = 0;                // 0 = off; [0, vocab]
  float top_p = 1.0f;               // (0, 1]
  float min_p = 0.0f;               // [0, 1]
  float repetition_penalty = 1.0f;  // (0, 10]; over prompt and output
  float presence_penalty = 0.0f;    // [-2, 2]; over output
  float frequency_penalty = 0.0f;   // [-2, 2]; over output
  uint64_t seed = 0;                // random numbers are a function of (seed, token index) alone
  int32_t top_logprobs = -1;  // -1 = none; 0 = the chosen token's; n = and the n best, [0, 20]

  bool operator==(const SamplingParams&) const = default;
};

}  // namespace headgate
