// A layer of a decode step as the GPU runs it: all its kernels, one after the other, in a graph of
// several layers with weights and pages of their own. Kernels alone say little of a step: what they
// cost together depends on how they overlap. One thread.
#pragma once

#include <cstdint>
#include <memory>

#include "absl/status/statusor.h"

namespace headgate {

// What has a kernel of its own, and what is done within another one.
struct LayerWays {
  bool rotate_in_attention = true;
  bool gate_in_product = true;  // silu(gate) * up
  bool attention = true;        // false: left out, to see what it costs
  bool products = true;         // false: attention alone
};

// Shapes of Llama 3 8B. `rows` sequences, each with `context` positions before its token.
class LayerBench {
 public:
  // Takes 0.5 GB and the pages for every layer, and some 100 ms to wake the GPU. RESOURCE_EXHAUSTED
  // when they do not fit.
  static absl::StatusOr<std::unique_ptr<LayerBench>> Create(int64_t rows, int64_t context,
                                                            int64_t layers);
  virtual ~LayerBench() = default;

  // Microseconds of a layer, median of replays.
  virtual absl::StatusOr<double> LayerUs(const LayerWays& ways) = 0;
};

}  // namespace headgate
