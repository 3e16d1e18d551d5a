// Fills the table of rope_table.h.
#include "worker/cpu/rope_table.h"

#include <algorithm>
#include <cmath>

namespace headgate {

void RopeTable::Fill(std::span<const int32_t> positions, std::span<const float> inv_freq,
                     ThreadPool& pool) {
  if (std::ranges::equal(positions, positions_) && std::ranges::equal(inv_freq, inv_freq_)) {
    return;
  }
  positions_.assign(positions.begin(), positions.end());
  inv_freq_.assign(inv_freq.begin(), inv_freq.end());
  half_ = static_cast<int64_t>(inv_freq.size());
  values_.resize(positions.size() * inv_freq.size() * 2);
  constexpr int64_t kStep = 32;
  const int64_t rows = static_cast<int64_t>(positions.size());
  pool.Run((rows + kStep - 1) / kStep, [&](int64_t item, int) {
    for (int64_t r = item * kStep; r < std::min(rows, (item + 1) * kStep); ++r) {
      float* to = values_.data() + r * 2 * half_;
      for (int64_t i = 0; i < half_; ++i) {
        const float angle = static_cast<float>(positions_[static_cast<size_t>(r)]) *
                            inv_freq_[static_cast<size_t>(i)];
        to[i] = static_cast<float>(std::cos(static_cast<double>(angle)));
        to[half_ + i] = static_cast<float>(std::sin(static_cast<double>(angle)));
      }
    }
  });
}

}  // namespace headgate
