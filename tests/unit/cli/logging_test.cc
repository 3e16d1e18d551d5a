// The headgate binary of this build: results on stdout, the log on stderr.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/exit_code.h"
#include "tests/run_headgate.h"
#include "tests/test_files.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

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
  const Ended ended = RunHeadgate(args, 60);
  ASSERT_EQ(ended.code, 0) << ended.log;
  EXPECT_THAT(ended.log, HasSubstr(" W [headgate] worker: 5 of "));
  const auto found = nlohmann::json::parse(ended.out, nullptr, /*allow_exceptions=*/false);
  EXPECT_TRUE(found.is_object()) << ended.out;
}

TEST(LoggingTest, ALevelThatIsNoneIsBadUse) {
  const Ended ended = RunHeadgate("worker --listen unix:w.sock --log-level loud");
  EXPECT_EQ(ended.code, kExitBadUse);
  EXPECT_THAT(ended.log, HasSubstr("unknown level 'loud'"));
}

}  // namespace
}  // namespace headgate
