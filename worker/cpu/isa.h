// The instruction-set levels that the CPU backend has kernels for, and which of them this machine
// runs. Thread safe.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"

namespace headgate {

// Every level includes the ones before it. The first three compute bit-identical results. kAmx
// multiplies quantised and bf16 weights with activations split into two bf16 values.
enum class IsaLevel : uint8_t { kScalar, kAvx2, kAvx512, kAmx };

std::string_view IsaName(IsaLevel level);

// INVALID_ARGUMENT unless `name` is one of "scalar", "avx2", "avx512", "amx".
absl::StatusOr<IsaLevel> IsaFromName(std::string_view name);

// The highest level that this machine runs, not above `limit`. AMX counts only when a child process
// has run one tile product and got the right numbers: some machines announce it and then raise
// SIGILL. The first call that asks for kAmx forks; later ones reuse the answer.
IsaLevel DetectIsa(IsaLevel limit);

}  // namespace headgate
