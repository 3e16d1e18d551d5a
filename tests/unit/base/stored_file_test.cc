#include "base/stored_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace headgate {
namespace {

TEST(ReadSmallFileTest, TakesRegularFilesUpToTheLimit) {
  const std::filesystem::path folder =
      std::filesystem::path(testing::TempDir()) / ("stored_file_" + std::to_string(::getpid()));
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "file").string();
  const std::string content("a\0b\n", 4);
  std::ofstream(path, std::ios::binary) << content;

  const auto whole = ReadSmallFile(path, 4);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(*whole, content);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadSmallFile(path, 3).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadSmallFile(folder.string(), 4).status()));
  const absl::Status missing = ReadSmallFile(path + "x", 4).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_NE(missing.message().find("filex"), absl::string_view::npos) << missing;
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace headgate
