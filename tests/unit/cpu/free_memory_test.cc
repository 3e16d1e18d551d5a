#include "worker/cpu/free_memory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "tests/test_folder.h"

namespace headgate {
namespace {

TEST(FreeMemoryTest, IsTheLowerOfMachineAndGroup) {
  const TestFolder folder;
  const std::string& root = folder.path();
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
