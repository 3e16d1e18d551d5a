// One step's batch in device memory, as kernels read it. Plain data.
#pragma once

#include <cstdint>

#include "base/ids.h"
#include "worker/batch.h"

namespace headgate {

// One sequence's rows of the batch; see BatchSequence.
struct StepSequence {
  int32_t place = 0;     // in the page tables
  int32_t position = 0;  // of its first row: positions written before the step
  int32_t offset = 0;    // its first row
  int32_t length = 0;    // rows; 0: the row at `offset` means nothing
};

struct StepView {
  const TokenId* tokens = nullptr;          // [rows]; kLastSampled: see last_tokens
  const int32_t* positions = nullptr;       // [rows]
  const int32_t* sequence_of = nullptr;     // [rows]: index into `sequences`
  const StepSequence* sequences = nullptr;  // [sequence_count]
  const int32_t* outputs = nullptr;         // [output_count]: rows whose logits are wanted
  const TokenId* last_tokens = nullptr;     // by place: the token that was sampled last
  int32_t rows = 0;
  int32_t sequence_count = 0;
  int32_t output_count = 0;
};

}  // namespace headgate
