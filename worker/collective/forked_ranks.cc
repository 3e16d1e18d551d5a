#include "worker/collective/forked_ranks.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <iostream>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "worker/collective/gloo.h"

namespace headgate {
namespace {

// What a rank that fails tells its parent. Small enough that a pipe takes it whole, so that those
// of several ranks lie one after the other, the cause before what follows from it.
struct Failure {
  int32_t rank = 0;
  int32_t code = 0;
  std::array<char, 1000> message = {};
};
static_assert(sizeof(Failure) <= 4096, "more than PIPE_BUF");

class FailurePipe {
 public:
  FailurePipe() = default;
  FailurePipe(const FailurePipe&) = delete;
  FailurePipe& operator=(const FailurePipe&) = delete;
  ~FailurePipe() {
    for (const int end : ends_) {
      if (end >= 0) close(end);
    }
  }

  absl::Status Open() {
    if (pipe2(ends_, O_CLOEXEC | O_NONBLOCK) == 0) return absl::OkStatus();
    return absl::ErrnoToStatus(errno, "forked ranks: cannot make a pipe");
  }
  void Tell(int rank, const absl::Status& status) const {
    Failure failure;
    failure.rank = rank;
    failure.code = static_cast<int32_t>(status.code());
    const size_t length = std::min(status.message().size(), failure.message.size() - 1);
    std::memcpy(failure.message.data(), status.message().data(), length);
    if (write(ends_[1], &failure, sizeof(failure)) != sizeof(failure)) {
      std::fprintf(stderr, "rank %d: %s\n", rank, status.ToString().c_str());
    }
  }
  // The oldest one.
  std::optional<absl::Status> Read() const {
    Failure failure;
    if (read(ends_[0], &failure, sizeof(failure)) != sizeof(failure)) return std::nullopt;
    return absl::Status(static_cast<absl::StatusCode>(failure.code),
                        absl::StrCat("rank ", failure.rank, ": ", failure.message.data()));
  }

 private:
  int ends_[2] = {-1, -1};
};

// The life of a child. The peers hear that it is gone only after its error has been told.
[[noreturn]] void RunChild(int rank, int ranks, pid_t parent, const std::string& folder,
                           const FailurePipe& failures,
                           absl::FunctionRef<absl::Status(Collective&)> body) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) _exit(1);  // the parent died before prctl
  GlooOptions options;
  options.rank = rank;
  options.size = ranks;
  options.rendezvous = folder;
  const absl::StatusOr<std::unique_ptr<Collective>> peers = MakeGlooCollective(options);
  const absl::Status status = peers.ok() ? body(**peers) : peers.status();
  if (!status.ok()) failures.Tell(rank, status);
  std::cout.flush();
  std::fflush(nullptr);
  _exit(status.ok() ? 0 : 1);  // the parent's objects are the parent's to destroy
}

// Of the children that have ended, forgets them; an error when one failed. One that a signal ended
// has told nothing, and is the cause of what its peers tell.
absl::Status Collect(std::vector<pid_t>& children, const FailurePipe& failures) {
  absl::Status failed, ended_by_signal;
  for (size_t rank = 0; rank < children.size(); ++rank) {
    int status = 0;
    if (children[rank] <= 0 || waitpid(children[rank], &status, WNOHANG) == 0) continue;
    children[rank] = 0;
    if (WIFSIGNALED(status)) {
      ended_by_signal.Update(absl::InternalError(
          absl::StrCat("rank ", rank, " was ended by signal ", WTERMSIG(status))));
    } else if (WEXITSTATUS(status) != 0) {
      failed.Update(absl::InternalError(absl::StrCat("rank ", rank, " failed")));
    }
  }
  if (!ended_by_signal.ok() || failed.ok()) return ended_by_signal;
  return failures.Read().value_or(failed);
}

absl::Status AwaitChildren(std::vector<pid_t>& children, const FailurePipe& failures,
                           absl::Time deadline) {
  while (std::any_of(children.begin(), children.end(), [](pid_t child) { return child > 0; })) {
    if (absl::Status status = Collect(children, failures); !status.ok()) return status;
    if (absl::Now() > deadline) return absl::DeadlineExceededError("the ranks take too long");
    absl::SleepFor(absl::Milliseconds(2));
  }
  return absl::OkStatus();
}

void EndAll(const std::vector<pid_t>& children) {
  for (const pid_t child : children) {
    if (child > 0) kill(child, SIGKILL);
  }
  for (const pid_t child : children) {
    if (child > 0) waitpid(child, nullptr, 0);
  }
}

}  // namespace

absl::Status RunForked(int ranks, absl::Duration limit,
                       absl::FunctionRef<absl::Status(Collective&)> rank) {
  FailurePipe failures;
  if (absl::Status opened = failures.Open(); !opened.ok()) return opened;
  std::error_code error;
  std::string folder = (std::filesystem::temp_directory_path(error) / "ranks-XXXXXX").string();
  if (error || mkdtemp(folder.data()) == nullptr) {
    return absl::InternalError(absl::StrCat("cannot make the folder ", folder));
  }
  std::cout.flush();
  std::fflush(nullptr);
  const pid_t parent = getpid();
  std::vector<pid_t> children;
  absl::Status status;
  for (int r = 0; r < ranks && status.ok(); ++r) {
    const pid_t child = fork();
    if (child == 0) RunChild(r, ranks, parent, folder, failures, rank);
    if (child < 0) status = absl::ErrnoToStatus(errno, "forked ranks: cannot fork");
    children.push_back(child);
  }
  if (status.ok()) status = AwaitChildren(children, failures, absl::Now() + limit);
  EndAll(children);
  std::filesystem::remove_all(folder, error);
  return status;
}

}  // namespace headgate
