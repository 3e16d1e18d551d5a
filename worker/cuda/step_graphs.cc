#include "worker/cuda/step_graphs.h"

#include <spdlog/spdlog.h>

#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {

absl::Status StepGraphs::Run(int64_t rows, absl::FunctionRef<absl::Status()> operations) {
  if (!works_) return operations();
  const bool seen = entries_.contains(rows);
  Entry& entry = Find(rows);
  // The first time loads kernels and chooses algorithms, which cannot be recorded.
  if (!seen) return operations();
  if (entry.graph == nullptr) {
    ASSIGN_OR_RETURN(entry.graph, Record(operations));
    if (entry.graph == nullptr) return operations();
  }
  CudaCheck(cudaGraphLaunch(entry.graph, stream_), "replaying a step");
  return absl::OkStatus();
}

StepGraphs::Entry& StepGraphs::Find(int64_t rows) {
  if (const auto it = entries_.find(rows); it != entries_.end()) {
    by_use_.splice(by_use_.begin(), by_use_, it->second.used);
    return it->second;
  }
  if (entries_.size() == kGraphsMax) {
    const auto oldest = entries_.find(by_use_.back());
    if (oldest->second.graph != nullptr) cudaGraphExecDestroy(oldest->second.graph);
    entries_.erase(oldest);
    by_use_.pop_back();
  }
  by_use_.push_front(rows);
  return entries_.insert_or_assign(rows, Entry{nullptr, by_use_.begin()}).first->second;
}

absl::StatusOr<cudaGraphExec_t> StepGraphs::Record(absl::FunctionRef<absl::Status()> operations) {
  CudaCheck(cudaStreamBeginCapture(stream_, cudaStreamCaptureModeThreadLocal), "recording a step");
  const absl::Status done = operations();
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  cudaError_t error = cudaStreamEndCapture(stream_, &graph);
  if (error == cudaSuccess && done.ok()) error = cudaGraphInstantiate(&ready, graph, 0);
  if (graph != nullptr) cudaGraphDestroy(graph);
  RETURN_IF_ERROR(done);
  if (error == cudaSuccess) return ready;
  cudaGetLastError();
  spdlog::warn("cuda: steps are launched kernel by kernel: recording failed: {}",
               cudaGetErrorString(error));
  works_ = false;
  return nullptr;
}

void StepGraphs::Clear() {
  for (const auto& [rows, entry] : entries_) {
    if (entry.graph != nullptr) cudaGraphExecDestroy(entry.graph);
  }
  entries_.clear();
  by_use_.clear();
}

}  // namespace headgate
