// The CPU backend: the embedded default, and the oracle for other devices.
//
// One step thread calls it; it shares the work with threads of its own. Results do not depend on
// the number of threads, nor a row's on the other rows of its batch or on how a sequence was cut
// into chunks: the same bits for every weight and page format. Levels below kAmx agree with each
// other bit by bit; kAmx differs from them for bf16 and quantised weights, by the rounding of
// activations to 16 bits, and for bf16 pages.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "worker/backend.h"
#include "worker/cpu/isa.h"

namespace headgate {

struct CpuBackendOptions {
  int threads = 0;                    // the caller counts as one; 0 = every core; at most 1024
  IsaLevel isa_max = IsaLevel::kAmx;  // use no higher level than this
};

// INVALID_ARGUMENT when threads is out of range.
absl::StatusOr<std::unique_ptr<Backend>> MakeCpuBackend(const CpuBackendOptions& options);

}  // namespace headgate
