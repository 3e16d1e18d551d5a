#include "cli/role_process.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>
#include <unistd.h>

#include <utility>

#include "cli/exit_code.h"
#include "cli/status_pipe.h"

namespace headgate {
namespace {

sigset_t StopSignalSet() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  return set;
}

}  // namespace

void RoleFlags::Add(CLI::App& app, const std::string& listen_help) {
  app.add_option("--listen", listen, listen_help)->required();
  app.add_option("--status-fd", status_fd)->group("");  // hidden: between us and the supervisor
}

void BlockStopSignals() {
  const sigset_t set = StopSignalSet();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

bool WaitForStopSignal(int limit_ms) {
  const sigset_t set = StopSignalSet();
  if (limit_ms < 0) {
    int signal_number = 0;
    sigwait(&set, &signal_number);
    return true;
  }
  const timespec limit = {limit_ms / 1000, static_cast<long>(limit_ms % 1000) * 1'000'000};
  return sigtimedwait(&set, nullptr, &limit) > 0;
}

absl::Status EndWithCause(int status_fd, absl::Status status) {
  if (!status.ok() && TellCause(status_fd, status)) _exit(ExitCodeOf(status));
  return status;
}

}  // namespace headgate
