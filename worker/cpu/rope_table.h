// Cosines and sines of the positions of one step: computed once, used by every layer. Owned by the
// step thread; other threads read it inside a loop of the pool.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "worker/cpu/thread_pool.h"

namespace headgate {

class RopeTable {
 public:
  // Angles positions[r] * inv_freq[i], both fp32, product rounded to fp32 as the models' reference
  // code does. Does nothing when the table holds these already.
  void Fill(std::span<const int32_t> positions, std::span<const float> inv_freq, ThreadPool& pool);

  const float* cosine(int64_t row) const { return values_.data() + row * 2 * half_; }
  const float* sine(int64_t row) const { return cosine(row) + half_; }

 private:
  int64_t half_ = 0;
  std::vector<int32_t> positions_;
  std::vector<float> inv_freq_;
  std::vector<float> values_;  // [rows][cosine, sine][half]
};

}  // namespace headgate
