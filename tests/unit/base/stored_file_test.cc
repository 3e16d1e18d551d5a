#include "base/stored_file.h"

#include <gtest/gtest.h>

#include <string>

#include "tests/test_folder.h"

namespace headgate {
namespace {

TEST(ReadSmallFileTest, TakesRegularFilesUpToTheLimit) {
  const TestFolder folder;
  const std::string content("a\0b\n", 4);
  const std::string path = folder.Write("file", content);

  const auto whole = ReadSmallFile(path, 4);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(*whole, content);
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadSmallFile(path, 3).status()));
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadSmallFile(folder.path(), 4).status()));
  const absl::Status missing = ReadSmallFile(path + "x", 4).status();
  EXPECT_TRUE(absl::IsNotFound(missing));
  EXPECT_NE(missing.message().find("filex"), absl::string_view::npos) << missing;
}

}  // namespace
}  // namespace headgate
