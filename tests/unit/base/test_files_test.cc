// What tests read files with must not end a test: a process may go between the opening of its
// files in /proc and their reading.
#include "tests/test_files.h"

#include <gtest/gtest.h>

namespace headgate {
namespace {

TEST(TestFilesTest, ReadsAWholeFile) { EXPECT_FALSE(ReadFile("/proc/self/cmdline").empty()); }

TEST(TestFilesTest, WhatCannotBeReadIsEmpty) {
  EXPECT_EQ(ReadFile("/proc/self/none"), "");
  EXPECT_EQ(ReadFile("/proc/self"), "");  // opens, but reading it fails
}

}  // namespace
}  // namespace headgate
