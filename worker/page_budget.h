// How many pages a rank gets: what the operator says, or what the device can spare. Pure.
#pragma once

#include <cstdint>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
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

// The most pages that fit: calls make(wanted), and while that says RESOURCE_EXHAUSTED again with a
// twentieth of `wanted` less, down to half of it and never below `least`. The last call is the one
// that succeeded; any other status, and the last RESOURCE_EXHAUSTED, is returned.
absl::StatusOr<uint32_t> FitPages(uint32_t wanted, uint32_t least,
                                  absl::FunctionRef<absl::Status(uint32_t pages)> make);

}  // namespace headgate
