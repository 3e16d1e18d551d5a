#include "cli/stop_signals.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include "base/check.h"

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

void BlockStopSignals() {
  const sigset_t set = StopSignalSet();
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

void WaitForStopSignal() {
  const sigset_t set = StopSignalSet();
  int signal_number = 0;
  sigwait(&set, &signal_number);
}

StopSignals::StopSignals() {
  const sigset_t set = StopSignalSet();
  pthread_sigmask(SIG_BLOCK, &set, &before_);
  fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  CHECK(fd_ >= 0) << "no file descriptor is left";
}

StopSignals::~StopSignals() {
  close(fd_);
  pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool StopSignals::Take() const {
  signalfd_siginfo info;
  return read(fd_, &info, sizeof info) == sizeof info;
}

}  // namespace headgate
