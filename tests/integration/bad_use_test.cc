// What cannot work ends at once, with exit code 2 and one line that names the cause.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <string>

#include "absl/strings/str_cat.h"
#include "cli/exit_code.h"
#include "tests/integration/service.h"
#include "tests/integration/stories.h"
#include "tests/run_headgate.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class BadUseTest : public testing::Test {
 protected:
  void SetUp() override { model_.CopyFrom(kStories); }

  void ExpectRefused(const std::string& args, const std::string& cause) {
    const HostPort metrics = OwnMetricsAddress();
    const Ended ended = RunHeadgate(
        absl::StrCat("serve --model=", model_.path(), " --listen=unix:", model_.At("api.sock"),
                     " --metrics-listen=", metrics.host, ":", metrics.port, " ", args));
    EXPECT_EQ(ended.code, kExitBadUse) << args;
    EXPECT_THAT(ended.LastLogLine(), HasSubstr(cause)) << args;
  }

  const TestFolder model_;
};

TEST_F(BadUseTest, TruncatedWeights) {
  fs::resize_file(model_.At("model.safetensors"), 500'000);
  ExpectRefused("", "is the download complete?");
}

TEST_F(BadUseTest, MissingConfig) {
  fs::remove(model_.At("config.json"));
  ExpectRefused("", "config.json");
}

TEST_F(BadUseTest, MissingTokenizer) {
  fs::remove(model_.At("tokenizer.json"));
  ExpectRefused("", "tokenizer.json");
}

TEST_F(BadUseTest, FlagsThatTheModelCannotServe) {
  ExpectRefused("--ranks=5", "use 1 to 4 ranks");
  ExpectRefused("--kv-pages=1", "Give more page memory");
  ExpectRefused("--policy=/nonexistent", "/nonexistent");
}

TEST(BadUse, AddressesThatCannotBeListenedOn) {
  const std::string serve = absl::StrCat("serve --model=", kStories, " ");
  for (const char* flags : {"--listen foo", "--listen 127.0.0.1", "--listen 127.0.0.1:99999",
                            "--listen ''", "--listen 0.0.0.0:21000", "--metrics-listen x:65535"}) {
    EXPECT_EQ(RunHeadgate(serve + flags).code, kExitBadUse) << flags;
  }
}

}  // namespace
}  // namespace headgate
