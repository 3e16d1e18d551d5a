// One request as the scheduler knows it, and what it says back. proto/wire.h converts them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/ids.h"
#include "base/sampling_params.h"
#include "base/step.h"

namespace headgate {

struct Request {
  RequestId id = 0;
  std::string tenant;
  int32_t priority = 0;              // higher first; ties in arrival order
  std::vector<TokenId> prompt;       // at least one token
  std::vector<TokenId> emitted;      // output already sent to the client: set on replay only
  int64_t max_tokens = 0;            // output tokens in all, `emitted` counted; 0 = score only
  std::vector<TokenId> stop_tokens;  // generation ends with (and includes) any of these
  SamplingParams sampling;
  bool score = false;  // log-probabilities of the prompt's tokens 1..n-1
  absl::Time deadline = absl::InfiniteFuture();
};

enum class FinishReason : uint8_t {
  kNone,    // not finished
  kStop,    // a stop token
  kLength,  // max_tokens
  kError,   // see status
};

// What the scheduler says about a request. For one request: token_index 0, 1, 2, ... without gap or
// repeat (replay continues), then exactly one event with finish != kNone.
struct TokenEvent {
  RequestId request = 0;
  bool has_token = false;
  int64_t token_index = 0;
  TokenId token = 0;
  float logprob = 0.0f;
  std::vector<TokenLogprob> top;
  std::vector<float> prompt_logprobs;  // with finish of a score request: prompt.size() - 1 values
  std::vector<TokenId> prompt_top;     // parallel: the model's own first choice
  FinishReason finish = FinishReason::kNone;
  absl::Status status;         // why, when finish == kError
  absl::Duration retry_after;  // with RESOURCE_EXHAUSTED and UNAVAILABLE: least wait
};

}  // namespace headgate
