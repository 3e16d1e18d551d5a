// A step's chunks and arrays, for tests that call kernels without a backend.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "base/step.h"
#include "worker/cuda/device/upload_ring.h"
#include "worker/cuda/pages/device_page_store.h"
#include "worker/cuda/step_rows.h"

namespace headgate {

// Sequences and how many positions they go on.
using StepParts = std::vector<std::pair<SequenceId, int64_t>>;

struct TestStep {
  std::vector<Chunk> chunks;  // for the store's BeginStep
  StepRows rows;
};

inline TestStep NextStep(const DevicePageStore& store, const StepParts& parts) {
  TestStep step;
  Batch batch;
  for (const auto& [id, length] : parts) {
    const int64_t position = store.Length(id);
    batch.sequences.push_back({id, position, batch.rows(), length});
    for (int64_t i = 0; i < length; ++i) {
      batch.tokens.push_back(0);
      batch.positions.push_back(static_cast<int32_t>(position + i));
    }
    step.chunks.push_back(
        {id, position, std::vector<TokenId>(static_cast<size_t>(length)), false, {}});
  }
  step.rows =
      MakeStepRows(batch, batch.rows(), [&store](SequenceId id) { return store.Place(id); });
  return step;
}

// What attention reads of it. Valid as long as the ring's place is.
inline StepView Upload(const StepRows& rows, UploadRing& uploads) {
  StepView view;
  uploads.Begin();
  view.positions = uploads.Add(std::span<const int32_t>(rows.positions));
  view.sequence_of = uploads.Add(std::span<const int32_t>(rows.sequence_of));
  view.sequences = uploads.Add(std::span<const StepSequence>(rows.sequences));
  uploads.Send();
  view.rows = static_cast<int32_t>(rows.positions.size());
  view.sequence_count = static_cast<int32_t>(rows.sequences.size());
  return view;
}

}  // namespace headgate
