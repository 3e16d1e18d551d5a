// Which errors are the user's to mend, so that the supervisor does not try again.
#include "cli/exit_code.h"

#include <gtest/gtest.h>

#include <string>

namespace headgate {
namespace {

TEST(ExitCode, BadFlagsFilesAndPortsAreBadUse) {
  for (const absl::StatusCode code :
       {absl::StatusCode::kInvalidArgument, absl::StatusCode::kNotFound,
        absl::StatusCode::kAlreadyExists, absl::StatusCode::kFailedPrecondition,
        absl::StatusCode::kOutOfRange, absl::StatusCode::kDataLoss}) {
    EXPECT_EQ(ExitCodeOf(absl::Status(code, "x")), kExitBadUse) << absl::StatusCodeToString(code);
  }
}

TEST(ExitCode, TheRestMayPass) {
  EXPECT_EQ(ExitCodeOf(absl::OkStatus()), kExitOk);
  for (const absl::StatusCode code :
       {absl::StatusCode::kUnavailable, absl::StatusCode::kInternal,
        absl::StatusCode::kDeadlineExceeded, absl::StatusCode::kResourceExhausted}) {
    EXPECT_EQ(ExitCodeOf(absl::Status(code, "x")), kExitFailed) << absl::StatusCodeToString(code);
  }
}

TEST(ExitCode, HelpNamesEveryCodeThatAUserCanMeet) {
  const std::string help = kExitCodesHelp;
  for (const int code : {kExitOk, kExitFailed, kExitBadUse}) {
    EXPECT_NE(help.find(std::to_string(code) + " "), std::string::npos) << code;
  }
}

}  // namespace
}  // namespace headgate
