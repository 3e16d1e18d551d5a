// AMX permission and probe. The tile registers are per thread; the permission is per process.
#pragma once

namespace headgate {

// Asks the kernel for tile data state, once per process. False when it refuses or is too old.
bool RequestAmxPermission();

// Multiplies two bf16 tiles and checks the sums. May raise SIGILL: call it in a child process.
// REQUIRES: RequestAmxPermission() returned true.
bool AmxProductIsRight();

}  // namespace headgate
