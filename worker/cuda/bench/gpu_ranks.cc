#include "worker/cuda/bench/gpu_ranks.h"

#include <cuda_runtime.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "base/status_macros.h"
#include "worker/collective/forked_ranks.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {

int CountGpus() {
  const pid_t child = fork();
  if (child == 0) {
    int count = 0;
    _exit(cudaGetDeviceCount(&count) == cudaSuccess ? std::min(count, 127) : 0);
  }
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return 0;
  return WEXITSTATUS(status);
}

absl::Status RunOnGpus(int ranks, absl::Duration limit,
                       absl::FunctionRef<absl::Status(Collective&)> rank) {
  const int gpus = CountGpus();
  if (gpus == 0) return absl::UnavailableError("no GPU on this machine");
  return RunForked(ranks, limit, [gpus, rank](Collective& peers) -> absl::Status {
    RETURN_IF_ERROR(CudaStatus(cudaSetDevice(peers.rank() % gpus), "choosing a GPU"));
    return rank(peers);
  });
}

}  // namespace headgate
