#include "worker/cuda/device/cuda_status.h"

#include <spdlog/spdlog.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"

namespace headgate {
namespace {

constexpr int kExitDeviceLost = 70;  // EX_SOFTWARE: nothing that the user could mend

}  // namespace

absl::Status CudaStatus(cudaError_t error, std::string_view what) {
  if (error == cudaSuccess) return absl::OkStatus();
  const std::string message =
      absl::StrCat("cuda: ", std::string(what), ": ", cudaGetErrorString(error));
  if (error == cudaErrorMemoryAllocation) {
    cudaGetLastError();  // not sticky: the caller may ask for less
    return absl::ResourceExhaustedError(message);
  }
  return absl::UnavailableError(message);
}

void CudaCheck(cudaError_t error, const char* what) {
  if (error == cudaSuccess) [[likely]]
    return;
  spdlog::critical("cuda: {}: {} ({}); this rank ends", what, cudaGetErrorString(error),
                   cudaGetErrorName(error));
  spdlog::shutdown();
  _exit(kExitDeviceLost);  // destructors would call the broken device
}

}  // namespace headgate
