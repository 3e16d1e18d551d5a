// Times device work without the gaps of launching it from the host: a graph of the work, replayed.
// One thread.
#pragma once

#include <cuda_runtime.h>

#include <functional>

#include "absl/status/statusor.h"

namespace headgate {

// `work` puts one round of work on the stream it gets. Returns the median time of a replay, after
// one that warms up, in microseconds. UNAVAILABLE: what CUDA says.
absl::StatusOr<double> MedianReplayUs(const std::function<void(cudaStream_t)>& work, int replays);
// The same on a stream that exists.
absl::StatusOr<double> MedianReplayUs(const std::function<void(cudaStream_t)>& work, int replays,
                                      cudaStream_t stream);

}  // namespace headgate
