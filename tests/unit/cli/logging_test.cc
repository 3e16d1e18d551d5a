// The headgate binary of this build: results on stdout, the log on stderr.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/test_files.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// Its stdout and stderr are in the files `out` and `log` of `folder`.
int RunHeadgate(const std::string& args, const TestFolder& folder) {
  const std::string command = absl::StrCat("timeout 60 ", HEADGATE_BINARY, " ", args, " >",
                                           folder.At("out"), " 2>", folder.At("log"));
  const int status = std::system(command.c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

// Its inner size, 172, is no multiple of 32: `down` cannot be int8, which a worker logs.
std::string ModelThatIsLogged(const TestFolder& folder) {
  const std::string model = folder.At("model");
  fs::copy(TestModel("stories260k"), model);
  std::ofstream(model + "/headgate.json") << R"({"weights": {"linear": "int8"}})";
  return model;
}

TEST(LoggingTest, JsonOfASubcommandIsAloneOnStdout) {
#ifdef __SANITIZE_THREAD__
  GTEST_SKIP() << "its 1 GiB of pages take 5 GiB under TSan";
#endif
  const TestFolder folder;
  const std::string args =
      absl::StrCat("bench startup --device cpu --json --model ", ModelThatIsLogged(folder));
  ASSERT_EQ(RunHeadgate(args, folder), 0) << ReadFile(folder.At("log"));
  EXPECT_THAT(ReadFile(folder.At("log")), HasSubstr(" W [headgate] worker: 5 of "));
  const std::string out = ReadFile(folder.At("out"));
  const auto found = nlohmann::json::parse(out, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(found.is_object()) << out;
}

TEST(LoggingTest, ALevelThatIsNoneIsBadUse) {
  const TestFolder folder;
  EXPECT_EQ(RunHeadgate("worker --listen unix:w.sock --log-level loud", folder), 2);
  EXPECT_THAT(ReadFile(folder.At("log")), HasSubstr("unknown level 'loud'"));
}

}  // namespace
}  // namespace headgate
