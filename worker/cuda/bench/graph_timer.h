// Times device work without the gaps of launching it from the host: a graph of the work, replayed.
// One thread.
#pragma once

#include <cuda_runtime.h>

#include <functional>

#include "absl/status/statusor.h"

namespace headgate {

// An idle GPU takes some 50 ms to reach its clocks.
inline constexpr double kWakeMs = 150.0;

// `work` puts one round of work on the stream it gets. Returns the median time of a replay, after
// those that warm up, at least one and for `warm_up_ms` of work, in microseconds. UNAVAILABLE: what
// CUDA says.
absl::StatusOr<double> MedianReplayUs(const std::function<void(cudaStream_t)>& work, int replays,
                                      double warm_up_ms = 0.0);
// The same on a stream that exists.
absl::StatusOr<double> MedianReplayUs(const std::function<void(cudaStream_t)>& work, int replays,
                                      cudaStream_t stream, double warm_up_ms = 0.0);

}  // namespace headgate
