#include "cli/role_process.h"

#include <unistd.h>

#include <utility>

#include "cli/exit_code.h"
#include "cli/status_pipe.h"

namespace headgate {

void RoleFlags::Add(CLI::App& app, const std::string& listen_help) {
  app.add_option("--listen", listen, listen_help)->required();
  app.add_option("--status-fd", status_fd)->group("");  // hidden: between us and the supervisor
}

absl::Status EndWithCause(int status_fd, absl::Status status) {
  if (!status.ok() && TellCause(status_fd, status)) _exit(ExitCodeOf(status));
  return status;
}

}  // namespace headgate
