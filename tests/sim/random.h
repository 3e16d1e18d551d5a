// The simulator's only source of chance: SplitMix64 (Steele et al., 2014) from one 64-bit seed.
// Equal seeds give equal runs on every machine, which std::uniform_int_distribution does not
// promise.
#pragma once

#include <cstdint>

namespace headgate::sim {

class Random {
 public:
  explicit Random(uint64_t seed) : state_(seed) {}

  uint64_t Next() {
    uint64_t z = (state_ += 0x9e3779b97f4a7c15ull);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
    return z ^ (z >> 31);
  }
  // In [low, high].
  int64_t Between(int64_t low, int64_t high) {
    const auto span = static_cast<uint64_t>(high - low) + 1;
    return low + static_cast<int64_t>((static_cast<unsigned __int128>(Next()) * span) >> 64);
  }
  bool Chance(int64_t per_mille) { return Between(0, 999) < per_mille; }

 private:
  uint64_t state_;
};

}  // namespace headgate::sim
