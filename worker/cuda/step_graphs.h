// CUDA graphs of whole decode steps, one per number of rows (step_rows.h keeps these few): the
// operations of a step are recorded the second time that a number of rows is seen, and replayed
// from then on. All that differs between such steps lies in device memory at fixed places
// (StepView, page tables, decode plan).
//
// The worker's step thread owns it.
#pragma once

#include <cuda_runtime.h>

#include <cstdint>
#include <list>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/step.h"

namespace headgate {

class StepGraphs {
 public:
  explicit StepGraphs(cudaStream_t stream) : stream_(stream) {}
  ~StepGraphs() { Clear(); }
  StepGraphs(const StepGraphs&) = delete;
  StepGraphs& operator=(const StepGraphs&) = delete;

  // Runs `operations`, which launch work on the stream and nothing else, or replays them. Errors:
  // those of the operations. When a recording cannot be ended or made ready, they are called once
  // more, and from then on run as they are; a call that CUDA refuses while it records ends the
  // process (cuda_status.h).
  absl::Status Run(int64_t rows, absl::FunctionRef<absl::Status()> operations);

  // Forgets all graphs: what they refer to is gone.
  void Clear();

  // Numbers of rows that were seen; from the second time on they have a graph.
  QueueStats Stats() const { return {"step_graphs", entries_.size(), kGraphsMax}; }

 private:
  // Rarely used numbers of rows give way.
  static constexpr size_t kGraphsMax = 128;

  struct Entry {
    cudaGraphExec_t graph = nullptr;  // null: seen once
    std::list<int64_t>::iterator used;
  };

  Entry& Find(int64_t rows);
  // Null, and the operations have not run, when they cannot be recorded.
  absl::StatusOr<cudaGraphExec_t> Record(absl::FunctionRef<absl::Status()> operations);

  const cudaStream_t stream_;
  absl::flat_hash_map<int64_t, Entry> entries_;
  std::list<int64_t> by_use_;  // numbers of rows, the latest used first
  bool works_ = true;
};

}  // namespace headgate
