#include "worker/cuda/bench/forked_ranks.h"

#include <cuda_runtime.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <iostream>
#include <memory>
#include <string>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "worker/collective/gloo.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
namespace {

absl::Status RunRank(int rank, int ranks, int gpus, const std::string& folder,
                     absl::FunctionRef<absl::Status(Collective&)> body) {
  RETURN_IF_ERROR(CudaStatus(cudaSetDevice(rank % gpus), "choosing a GPU"));
  GlooOptions options;
  options.rank = rank;
  options.size = ranks;
  options.rendezvous = folder;
  ASSIGN_OR_RETURN(const std::unique_ptr<Collective> peers, MakeGlooCollective(options));
  return body(*peers);
}

// -1: a signal ended it, or fork failed.
int WaitForExit(pid_t child) {
  int status = 0;
  if (child < 0 || waitpid(child, &status, 0) != child || !WIFEXITED(status)) return -1;
  return WEXITSTATUS(status);
}

// Of the children that have ended, forgets them; INTERNAL when one failed.
absl::Status Collect(std::vector<pid_t>& children) {
  for (size_t rank = 0; rank < children.size(); ++rank) {
    int status = 0;
    if (children[rank] <= 0 || waitpid(children[rank], &status, WNOHANG) == 0) continue;
    children[rank] = 0;
    if (WIFSIGNALED(status)) {
      return absl::InternalError(
          absl::StrCat("rank ", rank, " was ended by signal ", WTERMSIG(status)));
    }
    if (WEXITSTATUS(status) != 0) {
      return absl::InternalError(absl::StrCat("rank ", rank, " failed"));
    }
  }
  return absl::OkStatus();
}

absl::Status AwaitChildren(std::vector<pid_t>& children, absl::Time deadline) {
  while (std::any_of(children.begin(), children.end(), [](pid_t child) { return child > 0; })) {
    RETURN_IF_ERROR(Collect(children));
    if (absl::Now() > deadline) return absl::DeadlineExceededError("the ranks take too long");
    absl::SleepFor(absl::Milliseconds(2));
  }
  return absl::OkStatus();
}

}  // namespace

int CountGpus() {
  const pid_t child = fork();
  if (child == 0) {
    int count = 0;
    _exit(cudaGetDeviceCount(&count) == cudaSuccess ? std::min(count, 127) : 0);
  }
  return std::max(WaitForExit(child), 0);
}

absl::Status RunForked(int ranks, absl::Duration limit,
                       absl::FunctionRef<absl::Status(Collective&)> rank) {
  const int gpus = CountGpus();
  if (gpus == 0) return absl::UnavailableError("no GPU on this machine");
  std::error_code error;
  std::string folder = (std::filesystem::temp_directory_path(error) / "ranks-XXXXXX").string();
  if (error || mkdtemp(folder.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("cannot make the folder ", folder));
  }
  std::cout.flush();
  std::fflush(nullptr);
  std::vector<pid_t> children;
  for (int r = 0; r < ranks; ++r) {
    const pid_t child = fork();
    if (child == 0) {
      const absl::Status status = RunRank(r, ranks, gpus, folder, rank);
      if (!status.ok()) std::fprintf(stderr, "rank %d: %s\n", r, status.ToString().c_str());
      std::cout.flush();
      std::fflush(nullptr);
      _exit(status.ok() ? 0 : 1);  // the parent's objects are the parent's to destroy
    }
    children.push_back(child);
  }
  absl::Status status = AwaitChildren(children, absl::Now() + limit);
  for (const pid_t child : children) {
    if (child <= 0) continue;
    kill(child, SIGKILL);
    WaitForExit(child);
  }
  std::filesystem::remove_all(folder, error);
  return status;
}

}  // namespace headgate
