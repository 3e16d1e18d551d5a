// The arrays of a step that kernels read (StepView), made on the host. Plain data.
//
// A decode step may have rows beyond its batch's, so that few numbers of rows occur and a recorded
// step (StepGraphs) can be replayed for most batches: their sequences have length 0, and what is
// computed in them means nothing.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/functional/function_ref.h"
#include "worker/batch.h"
#include "worker/cuda/step_view.h"

namespace headgate {

struct StepRows {
  std::vector<TokenId> tokens;
  std::vector<int32_t> positions;
  std::vector<int32_t> sequence_of;
  std::vector<StepSequence> sequences;
};

// A number of rows that serves `rows` too; at most a third more, and 126 different ones up to
// 8,192.
inline int64_t RoundedRows(int64_t rows) {
  int64_t multiple = 1;
  if (rows > 16) multiple = 8;
  if (rows > 128) multiple = 16;
  if (rows > 512) multiple = 32;
  if (rows > 1024) multiple = 128;
  return (rows + multiple - 1) / multiple * multiple;
}

// `place` of a sequence in the page tables. `rows`: of a batch that only decodes, at least its own.
inline StepRows MakeStepRows(const Batch& batch, int64_t rows,
                             absl::FunctionRef<int32_t(SequenceId)> place) {
  StepRows step{batch.tokens, batch.positions, {}, {}};
  for (const BatchSequence& one : batch.sequences) {
    step.sequence_of.insert(step.sequence_of.end(), static_cast<size_t>(one.length),
                            static_cast<int32_t>(step.sequences.size()));
    step.sequences.push_back({place(one.sequence), static_cast<int32_t>(one.position),
                              static_cast<int32_t>(one.offset), static_cast<int32_t>(one.length)});
  }
  for (int64_t row = batch.rows(); row < rows; ++row) {
    step.tokens.push_back(0);
    step.positions.push_back(0);
    step.sequence_of.push_back(static_cast<int32_t>(step.sequences.size()));
    step.sequences.push_back({0, 0, static_cast<int32_t>(row), 0});
  }
  return step;
}

}  // namespace headgate
