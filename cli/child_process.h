// One child process: started with fork + exec, watched through a pidfd, dead when its parent dies.
// Not thread safe; the thread that spawns must outlive the children (PR_SET_PDEATHSIG is per
// thread).
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace headgate {

// How a child ended.
struct ChildExit {
  int code = 0;    // exit code, when signal == 0
  int signal = 0;  // the signal that killed it, or 0

  std::string ToString() const;
};

class ChildProcess {
 public:
  // Runs `argv` (argv[0] is a path). Descriptor `inherited_fd` (-1: none) stays open in the child
  // under the same number; all others above stderr are closed by O_CLOEXEC.
  static absl::StatusOr<ChildProcess> Spawn(const std::vector<std::string>& argv, int inherited_fd);

  ChildProcess(ChildProcess&& other) noexcept;
  ChildProcess& operator=(ChildProcess&& other) noexcept;
  ~ChildProcess();  // kills and reaps what still runs

  pid_t pid() const { return pid_; }
  int pidfd() const { return pidfd_; }  // readable once the child has ended
  bool running() const { return pid_ > 0; }

  void Signal(int signal_number) const;
  // Reaps without waiting; nullopt while it runs.
  std::optional<ChildExit> TryReap();

 private:
  ChildProcess(pid_t pid, int pidfd) : pid_(pid), pidfd_(pidfd) {}
  void CloseAndForget();

  pid_t pid_ = -1;
  int pidfd_ = -1;
};

}  // namespace headgate
