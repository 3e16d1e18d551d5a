// Which device a worker computes on. The only code that knows all of them.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "worker/backend.h"
#include "worker/worker.h"

namespace headgate {

// What shows without touching a device. INVALID_ARGUMENT for an unknown device or instruction set,
// or a weight or page format that the device has no kernels for; FAILED_PRECONDITION when this
// program was built without the device.
absl::Status CheckBackend(const WorkerOptions& options);

// The weight format to ask ChooseWeightFormats for: what "auto" means on this device.
std::string WeightsOn(const WorkerOptions& options);

// Errors: CheckBackend's, and UNAVAILABLE when the device does not answer.
absl::StatusOr<std::unique_ptr<Backend>> MakeBackend(const WorkerOptions& options);

}  // namespace headgate
