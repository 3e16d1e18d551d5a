// How much memory this process may still take. Reads /proc and cgroup files; any thread.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace headgate {

// The lower of what the machine (MemAvailable of <root>/proc/meminfo) and the cgroup
// (<root>/sys/fs/cgroup/memory.{max,current}) leave, in bytes; nullopt where neither says.
std::optional<int64_t> FreeMemoryBytes(const std::string& root = "");

}  // namespace headgate
