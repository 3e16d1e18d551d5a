#include "worker/cpu/free_memory.h"

#include <algorithm>
#include <fstream>

namespace headgate {
namespace {

std::optional<int64_t> ReadNumber(const std::string& path) {
  std::ifstream file(path);
  int64_t value = 0;
  if (file >> value && value >= 0) return value;
  return std::nullopt;  // no file, or "max"
}

std::optional<int64_t> ReadMemAvailable(const std::string& path) {
  std::ifstream file(path);
  std::string key;
  int64_t kib = 0;
  std::string unit;
  while (file >> key >> kib) {
    std::getline(file, unit);
    if (key == "MemAvailable:") return kib * 1024;
  }
  return std::nullopt;
}

}  // namespace

std::optional<int64_t> FreeMemoryBytes(const std::string& root) {
  std::optional<int64_t> free = ReadMemAvailable(root + "/proc/meminfo");
  const std::string cgroup = root + "/sys/fs/cgroup/memory.";
  if (const auto limit = ReadNumber(cgroup + "max")) {
    const int64_t left = std::max<int64_t>(0, *limit - ReadNumber(cgroup + "current").value_or(0));
    free = free.has_value() ? std::min(*free, left) : left;
  }
  return free;
}

}  // namespace headgate
