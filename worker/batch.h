// The tokens of one step on one rank. Plain data.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace headgate {

// In a batch: the token that its sequence sampled last, which may still be on the device.
inline constexpr TokenId kLastSampled = -1;
// What a sequence feeds after its logits were not finite.
inline constexpr TokenId kTokenOfFailed = 0;

// One sequence's rows of the batch.
struct BatchSequence {
  SequenceId sequence = 0;
  int64_t position = 0;  // of its first row
  int64_t offset = 0;    // its first row in the batch
  int64_t length = 0;    // rows
};

// All chunks back to back.
struct Batch {
  std::vector<TokenId> tokens;     // [M]; kLastSampled for a chunk that decodes
  std::vector<int32_t> positions;  // [M]
  std::vector<BatchSequence> sequences;
  std::vector<int32_t> outputs;  // rows whose logits are wanted, ascending

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
  // Every sequence has one row.
  bool decodes_only() const {
    return std::all_of(sequences.begin(), sequences.end(),
                       [](const BatchSequence& one) { return one.length == 1; });
  }
};

}  // namespace headgate
