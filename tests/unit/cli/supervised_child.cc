// A child for supervisor_test: appends its pid to the file in argv[2], then does what argv[1] says.
// serve: ready beats until SIGTERM. hang: beats of an ever older step. crash, bad_use: exits.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/time/clock.h"
#include "cli/exit_code.h"
#include "cli/status_pipe.h"

int main(int argc, char** argv) {
  const std::string mode = argc > 3 ? argv[1] : "";
  std::ofstream(argv[2], std::ios::app) << getpid() << std::endl;
  if (mode == "crash") return headgate::kExitFailed;
  const int fd = std::atoi(std::strchr(argv[argc - 1], '=') + 1);
  if (mode == "bad_use") {
    headgate::TellCause(fd, absl::InvalidArgumentError("--model: no such folder"));
    return headgate::kExitBadUse;
  }
  const absl::Time start = absl::Now();
  headgate::StatusWriter writer(fd, absl::Milliseconds(20), [&] {
    headgate::StatusBeat beat;
    beat.ready = 1;
    if (mode == "hang") beat.busy_ms = 1 + absl::ToInt64Milliseconds(absl::Now() - start);
    return beat;
  });
  std::signal(SIGTERM, [](int) { _exit(0); });
  pause();
  return 0;
}
