#include "worker/page_budget.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace headgate {
namespace {

KvLayout Layout() {
  return MakeKvLayout(16, 64, DType::kBF16, {{RowSpec{}, RowSpec{}}, {RowSpec{}}});  // 4 KiB pages
}

TEST(PageBudgetTest, PagesWinOverBytes) {
  EXPECT_EQ(*CountPages({.pages = 7, .memory_bytes = 1}, Layout(), 1), 7u);
  EXPECT_EQ(*CountPages({.memory_bytes = 40960 + 4095}, Layout(), 1), 10u);
  EXPECT_GT(*CountPages({}, Layout(), 2), 3u);
}

TEST(PageBudgetTest, EveryRowNeedsAPage) {
  EXPECT_TRUE(CountPages({.pages = 3}, Layout(), 1).ok());
  EXPECT_EQ(CountPages({.pages = 2}, Layout(), 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CountPages({.memory_bytes = int64_t{1} << 60}, Layout(), 1).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(PageBudgetTest, FreeMemoryIsTheLowerOfMachineAndGroup) {
  const std::string root = testing::TempDir() + "/page_budget";
  std::filesystem::remove_all(root);
  EXPECT_FALSE(FreeMemoryBytes(root).has_value());
  std::filesystem::create_directories(root + "/proc");
  std::filesystem::create_directories(root + "/sys/fs/cgroup");
  std::ofstream(root + "/proc/meminfo")
      << "MemTotal:  9000 kB\nMemFree: 10 kB\nMemAvailable: 4000 kB\n";
  EXPECT_EQ(FreeMemoryBytes(root), 4000 * 1024);
  std::ofstream(root + "/sys/fs/cgroup/memory.max") << "max\n";
  EXPECT_EQ(FreeMemoryBytes(root), 4000 * 1024);
  std::ofstream(root + "/sys/fs/cgroup/memory.max") << "3000000\n";
  std::ofstream(root + "/sys/fs/cgroup/memory.current") << "1000000\n";
  EXPECT_EQ(FreeMemoryBytes(root), 2000000);
}

}  // namespace
}  // namespace headgate
