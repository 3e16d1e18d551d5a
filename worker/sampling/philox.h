// Counter-based random numbers: a pure function of key and counter, so a replayed or moved sequence
// draws what it would have drawn. Philox 4x32 with 10 rounds: Salmon, Moraes, Dror, Shaw, "Parallel
// Random Numbers: As Easy as 1, 2, 3" (SC 2011). Pure functions; any thread.
#pragma once

#include <array>
#include <cstdint>

namespace headgate {

std::array<uint32_t, 4> Philox4x32(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key);

// In [0, 1), 53 random bits: the draw for the token at `token_index` of a request with `seed`.
double UniformForToken(uint64_t seed, int64_t token_index);

}  // namespace headgate
