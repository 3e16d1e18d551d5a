// The model of the modelled workers: every token is a hash of all tokens before it. So a checker
// that knows the prompt knows the one right stream, and any gap, repeat or mixed-up context changes
// it.
#pragma once

#include <cstdint>

#include "base/ids.h"

namespace headgate::sim {

inline constexpr uint64_t kEmptyContext = 0x243f6a8885a308d3ull;

constexpr uint64_t Mix(uint64_t hash, uint64_t value) {
  hash = (hash ^ value) * 0xff51afd7ed558ccdull;
  return hash ^ (hash >> 32);
}

// The context after one more token.
constexpr uint64_t Extend(uint64_t context, TokenId token) {
  return Mix(context, static_cast<uint64_t>(token) + 0x9e3779b97f4a7c15ull);
}

// The token that follows; `index` is its place in the client's stream.
constexpr TokenId NextToken(uint64_t context, int64_t index, int64_t vocab) {
  return static_cast<TokenId>(Mix(context, static_cast<uint64_t>(index)) %
                              static_cast<uint64_t>(vocab));
}

constexpr float Logprob(uint64_t context, TokenId token) {
  return -static_cast<float>(Mix(context, static_cast<uint64_t>(token)) & 0xffff) / 4096.0f;
}

}  // namespace headgate::sim
