#include "worker/page_budget.h"

#include <algorithm>
#include <fstream>

#include "absl/strings/str_cat.h"

namespace headgate {
namespace {

constexpr int64_t kFreeMemoryShare = 4;  // a quarter: weights, activations and others need some
constexpr int64_t kFallbackBytes = int64_t{256} << 20;  // where the machine does not say

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

absl::StatusOr<uint32_t> CountPages(const PageBudget& budget, const KvLayout& layout, int ranks) {
  int64_t pages = budget.pages;
  if (pages == 0) {
    const int64_t bytes = budget.memory_bytes > 0 ? budget.memory_bytes
                                                  : FreeMemoryBytes().value_or(kFallbackBytes) /
                                                        kFreeMemoryShare / ranks;
    pages = bytes / layout.page_bytes();
  }
  const int64_t rows = static_cast<int64_t>(layout.rows.size());
  if (!(rows <= pages && pages < static_cast<int64_t>(kNoPage))) {
    return absl::InvalidArgumentError(
        absl::StrCat("pages: ", pages, " pages of ", layout.page_bytes(), " bytes; the model has ",
                     rows, " rows on this rank and each needs one. Give more page memory"));
  }
  return static_cast<uint32_t>(pages);
}

}  // namespace headgate
