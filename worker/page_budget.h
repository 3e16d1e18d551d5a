// How many pages a rank gets: what the operator says, or a share of the memory that is free. Reads
// /proc and cgroup files; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "kvstore/kv_layout.h"

namespace headgate {

struct PageBudget {
  uint32_t pages = 0;        // wins; 0 = from memory_bytes
  int64_t memory_bytes = 0;  // 0 = a quarter of the memory that is free, shared by the ranks
};

// INVALID_ARGUMENT when not even one page for every row fits.
absl::StatusOr<uint32_t> CountPages(const PageBudget& budget, const KvLayout& layout, int ranks);

// Bytes that this process may still take: the lower of what the machine (MemAvailable of
// <root>/proc/meminfo) and the cgroup (<root>/sys/fs/cgroup/memory.{max,current}) leave.
std::optional<int64_t> FreeMemoryBytes(const std::string& root = "");

}  // namespace headgate
