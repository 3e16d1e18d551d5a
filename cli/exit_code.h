// Exit codes of `headgate` and its roles, defined here only. The supervisor acts on them; users
// read kExitCodesHelp.
#pragma once

#include "absl/status/status.h"

namespace headgate {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;     // something went wrong while running
inline constexpr int kExitBadUse = 2;     // flags, files or ports: trying again cannot help
inline constexpr int kExitGroupLost = 3;  // a worker whose peers are gone: relaunch the group

// The last lines of --help.
inline constexpr char kExitCodesHelp[] =
    "Exit codes: 0 done; 1 failed while running (nobody answers, no time left, stopped);\n"
    "2 bad use (flags, addresses, files, a request that was refused): trying again cannot help.";

// Bad use for what the user can mend, failed for the rest.
int ExitCodeOf(const absl::Status& status);

}  // namespace headgate
