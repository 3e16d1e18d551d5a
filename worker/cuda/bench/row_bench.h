// Times of the row operations of a prompt's step (worker/cuda/rows/row_ops.h), against the bytes
// that each must move. One thread.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace headgate {

struct RowOpTime {
  std::string name;
  double us = 0.0;     // median of a launch
  double bytes = 0.0;  // read and written once
};

// Of `rows` rows of a Llama 3 8B's shapes; with a bias and head norms, which other models have.
// RESOURCE_EXHAUSTED when the device lacks memory (128 KB a row).
absl::StatusOr<std::vector<RowOpTime>> BenchRowOps(int64_t rows);

}  // namespace headgate
