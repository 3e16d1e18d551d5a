#include "worker/cuda/bench/graph_timer.h"

#include <algorithm>
#include <memory>
#include <type_traits>
#include <vector>

#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
namespace {

template <typename Handle, cudaError_t (*kDestroy)(Handle)>
struct Destroy {
  using pointer = Handle;
  void operator()(Handle handle) const { kDestroy(handle); }
};
template <typename Handle, cudaError_t (*kDestroy)(Handle)>
using Owned = std::unique_ptr<std::remove_pointer_t<Handle>, Destroy<Handle, kDestroy>>;

using Stream = Owned<cudaStream_t, cudaStreamDestroy>;
using Graph = Owned<cudaGraph_t, cudaGraphDestroy>;
using GraphRun = Owned<cudaGraphExec_t, cudaGraphExecDestroy>;
using Event = Owned<cudaEvent_t, cudaEventDestroy>;

absl::StatusOr<Graph> Capture(const std::function<void(cudaStream_t)>& work, cudaStream_t stream) {
  RETURN_IF_ERROR(CudaStatus(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal),
                             "capturing a graph"));
  work(stream);
  cudaGraph_t graph = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaStreamEndCapture(stream, &graph), "capturing a graph"));
  return Graph(graph);
}

}  // namespace

absl::StatusOr<double> MedianReplayUs(const std::function<void(cudaStream_t)>& work, int replays,
                                      double warm_up_ms) {
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(
      CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "creating a stream"));
  const Stream owned(stream);
  return MedianReplayUs(work, replays, stream, warm_up_ms);
}

absl::StatusOr<double> MedianReplayUs(const std::function<void(cudaStream_t)>& work, int replays,
                                      cudaStream_t stream, double warm_up_ms) {
  ASSIGN_OR_RETURN(const Graph graph, Capture(work, stream));
  cudaGraphExec_t raw_run = nullptr;
  RETURN_IF_ERROR(
      CudaStatus(cudaGraphInstantiate(&raw_run, graph.get(), 0), "instantiating a graph"));
  const GraphRun run(raw_run);
  cudaEvent_t raw_begin = nullptr, raw_end = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&raw_begin), "creating an event"));
  const Event begin(raw_begin);
  RETURN_IF_ERROR(CudaStatus(cudaEventCreate(&raw_end), "creating an event"));
  const Event end(raw_end);

  std::vector<float> times_ms;
  double ran_ms = 0.0;
  for (bool warm = false; static_cast<int>(times_ms.size()) < replays;
       warm = ran_ms >= warm_up_ms) {
    cudaEventRecord(begin.get(), stream);
    cudaGraphLaunch(run.get(), stream);
    cudaEventRecord(end.get(), stream);
    RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream), "replaying a graph"));
    float time_ms = 0.0f;
    RETURN_IF_ERROR(CudaStatus(cudaEventElapsedTime(&time_ms, begin.get(), end.get()), "timing"));
    if (warm) times_ms.push_back(time_ms);
    ran_ms += static_cast<double>(time_ms);
  }
  std::nth_element(times_ms.begin(), times_ms.begin() + replays / 2, times_ms.end());
  return times_ms[static_cast<size_t>(replays / 2)] * 1e3;
}

}  // namespace headgate
