// A folder of one test in one process: tests run side by side.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <string>

namespace headgate {

// <temp>/<name>_<pid>, empty.
inline std::string FreshFolder(const std::string& name) {
  const std::string folder = testing::TempDir() + "/" + name + "_" + std::to_string(getpid());
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder);
  return folder;
}

}  // namespace headgate
