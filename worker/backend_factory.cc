#include "worker/backend_factory.h"

#include <optional>
#include <string_view>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cpu/cpu_backend.h"
#if HEADGATE_WITH_CUDA
#include "worker/cuda/cuda_backend.h"
#endif

namespace headgate {
namespace {

// The GPU that `device` names for `rank`; nullopt: the CPU.
absl::StatusOr<std::optional<int>> GpuOf(const std::string& device, int rank) {
  if (device == "cpu") return std::nullopt;
  if (device == "cuda") return rank;
  constexpr std::string_view kPrefix = "cuda:";
  int gpu = 0;
  if (device.substr(0, kPrefix.size()) == kPrefix &&
      absl::SimpleAtoi(device.substr(kPrefix.size()), &gpu) && gpu >= 0) {
    return gpu;
  }
  return absl::InvalidArgumentError(
      absl::StrCat("worker: device '", device, "' is unknown; give cpu, cuda or cuda:<number>"));
}

absl::Status CheckCuda(const WorkerOptions& options) {
#if HEADGATE_WITH_CUDA
  if (options.weights != "auto" && options.weights != "as-stored" && options.weights != "bf16") {
    return absl::InvalidArgumentError(
        absl::StrCat("worker: weights '", options.weights, "' on a GPU; give auto or bf16"));
  }
  if (options.page_dtype != DType::kBF16) {
    return absl::InvalidArgumentError("worker: pages on a GPU are bf16");
  }
  return absl::OkStatus();
#else
  return absl::FailedPreconditionError(
      absl::StrCat("worker: device '", options.device,
                   "': this program was built without CUDA; build it with -DHEADGATE_CUDA=ON"));
#endif
}

}  // namespace

absl::Status CheckBackend(const WorkerOptions& options) {
  ASSIGN_OR_RETURN(const std::optional<int> gpu, GpuOf(options.device, options.rank));
  if (gpu.has_value()) return CheckCuda(options);
  return options.isa == "auto" ? absl::OkStatus() : IsaFromName(options.isa).status();
}

// A checkpoint's note says how small its weights may become; a GPU holds all of them as bf16.
std::string WeightsOn(const WorkerOptions& options) {
  return options.weights == "auto" && options.device != "cpu" ? "bf16" : options.weights;
}

absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const WorkerOptions& options) {
  RETURN_IF_ERROR(CheckBackend(options));
#if HEADGATE_WITH_CUDA
  ASSIGN_OR_RETURN(const std::optional<int> gpu, GpuOf(options.device, options.rank));
  if (gpu.has_value()) {
    return MakeCudaBackend({.device = *gpu, .step_tokens_max = options.step_tokens_max});
  }
#endif
  CpuBackendOptions cpu;
  cpu.threads = options.threads;
  if (options.isa != "auto") {
    ASSIGN_OR_RETURN(cpu.isa_max, IsaFromName(options.isa));
  }
  return MakeCpuBackend(cpu);
}

}  // namespace headgate
