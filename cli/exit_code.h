// Exit codes of `headgate` and its roles. The supervisor acts on them.
#pragma once

#include "absl/status/status.h"

namespace headgate {

inline constexpr int kExitOk = 0;
inline constexpr int kExitFailed = 1;     // something went wrong while running
inline constexpr int kExitBadUse = 2;     // flags, files or ports: trying again cannot help
inline constexpr int kExitGroupLost = 3;  // a worker whose peers are gone: relaunch the group

// Bad use for what the user can mend, failed for the rest.
int ExitCodeOf(const absl::Status& status);

}  // namespace headgate
