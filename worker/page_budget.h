// How many pages a rank gets: what the operator says, or what the device can spare. Pure.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "kvstore/kv_layout.h"

namespace headgate {

struct PageBudget {
  uint32_t pages = 0;        // wins; 0 = from memory_bytes
  int64_t memory_bytes = 0;  // 0 = Backend::PageMemoryBytes
};

// INVALID_ARGUMENT when not even one page for every row fits.
absl::StatusOr<uint32_t> CountPages(const PageBudget& budget, const KvLayout& layout,
                                    int64_t default_bytes);

}  // namespace headgate
