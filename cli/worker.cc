// `headgate worker`: one rank of a worker group.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/logging.h"
#include "cli/role_flags.h"
#include "cli/role_process.h"
#include "cli/status_pipe.h"
#include "cli/stop_signals.h"
#include "worker/shell/worker_service.h"

namespace headgate {
namespace {

struct WorkerRoleFlags {
  RoleFlags role;
  WorkerFlags worker;
  LogFlags log;
  std::string name = "worker";
};

constexpr int64_t kMib = 1024 * 1024;

// Ends the process at once: after a lost peer or a broken invariant nothing in it can be trusted.
[[noreturn]] void EndProcess(int status_fd, const absl::Status& status) {
  if (!TellCause(status_fd, status)) spdlog::error("{}", std::string(status.message()));
  _exit(absl::IsUnavailable(status) ? kExitGroupLost : ExitCodeOf(status));
}

absl::StatusOr<WorkerServiceOptions> Options(const WorkerRoleFlags& flags) {
  const WorkerFlags& given = flags.worker;
  WorkerServiceOptions options;
  options.listen = flags.role.listen;
  options.loop.on_fatal = [fd = flags.role.status_fd](const absl::Status& status) {
    EndProcess(fd, status);
  };
  WorkerOptions& worker = options.loop.worker;
  ASSIGN_OR_RETURN(worker.model, given.model.Source());
  worker.policy_dir = given.policy;
  if (given.sparsity >= 0) worker.policy.sparsity = given.sparsity;
  worker.weights = given.weights;
  worker.page_dtype = given.kv_dtype == "fp32" ? DType::kF32 : DType::kBF16;
  worker.page_tokens = given.page_tokens;
  worker.pages.pages = static_cast<uint32_t>(given.kv_pages);
  worker.pages.memory_bytes =
      given.kv_memory_mib < 0 ? PageMemoryOn(given.device) : given.kv_memory_mib * kMib;
  worker.step_tokens_max = given.StepTokens();
  worker.threads = given.threads;
  worker.isa = given.isa;
  worker.device = given.device;
  return options;
}

absl::Status RunWorker(const WorkerRoleFlags& flags) {
  BlockStopSignals();
  RETURN_IF_ERROR(StartLogging(flags.name, flags.log.level));
  ASSIGN_OR_RETURN(WorkerServiceOptions options, Options(flags));
  ASSIGN_OR_RETURN(const auto service, WorkerService::Start(std::move(options)));
  const StatusWriter status(flags.role.status_fd, absl::Milliseconds(50), [&service] {
    const WorkerProgress progress = service->Progress();
    StatusBeat beat;
    beat.steps = progress.steps;
    beat.busy_ms = static_cast<uint64_t>(absl::ToInt64Milliseconds(progress.busy));
    beat.ready = progress.in_epoch ? 1 : 0;
    return beat;
  });
  WaitForStopSignal();
  service->Shutdown();
  return absl::OkStatus();
}

}  // namespace

void AddWorkerCommand(CLI::App& app, Run& run) {
  auto flags = std::make_shared<WorkerRoleFlags>();
  CLI::App* worker = app.add_subcommand("worker", "Run one worker rank (a role of `serve`, alone)");
  flags->role.Add(*worker, "where the scheduler connects: host:port or unix:path");
  flags->worker.Add(*worker);
  worker->add_option("--name", flags->name, "name in the log")->capture_default_str();
  flags->log.Add(*worker);
  worker->callback([flags, &run] {
    run = [flags] { return EndWithCause(flags->role.status_fd, RunWorker(*flags)); };
  });
}

}  // namespace headgate
