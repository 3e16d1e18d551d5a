// `headgate scheduler`: the scheduler's process.
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/logging.h"
#include "cli/role_flags.h"
#include "cli/role_process.h"
#include "cli/status_pipe.h"
#include "cli/stop_signals.h"
#include "metrics/exporter.h"
#include "metrics/scheduler_metrics.h"
#include "scheduler/shell/scheduler_server.h"

namespace headgate {
namespace {

struct SchedulerRoleFlags {
  RoleFlags role;
  SchedulerFlags scheduler;
  LogFlags log;
  std::vector<std::string> groups;  // comma-separated addresses of one group's ranks
  int64_t step_tokens = StepTokensOn("cpu");
  std::string rendezvous_dir;
  std::string metrics;
  std::string model_name;
};

SchedulerServerOptions Options(const SchedulerRoleFlags& flags) {
  SchedulerServerOptions options;
  options.listen = flags.role.listen;
  options.loop.scheduler.groups = static_cast<int>(flags.groups.size());
  options.loop.scheduler.waiting_limit = flags.scheduler.waiting_limit;
  options.loop.scheduler.running_limit = flags.scheduler.running_limit;
  options.loop.scheduler.step_tokens = flags.step_tokens;
  options.loop.scheduler.chunk_tokens =
      flags.scheduler.chunk_tokens > 0 ? flags.scheduler.chunk_tokens : flags.step_tokens;
  options.loop.group.rendezvous_dir = flags.rendezvous_dir;
  options.loop.group.watchdog = absl::Seconds(flags.scheduler.watchdog_s);
  for (const std::string& group : flags.groups) {
    options.loop.groups.push_back(absl::StrSplit(group, ','));
  }
  return options;
}

absl::Status RunScheduler(const SchedulerRoleFlags& flags) {
  BlockStopSignals();
  RETURN_IF_ERROR(StartLogging("scheduler", flags.log.level));
  ASSIGN_OR_RETURN(const auto server, SchedulerServer::Start(Options(flags)));
  std::unique_ptr<MetricsExporter> exporter;
  if (!flags.metrics.empty()) {
    ASSIGN_OR_RETURN(exporter, MetricsExporter::Start(flags.metrics, [&server, &flags] {
                       return SchedulerFamilies(server->Stats(), flags.model_name);
                     }));
  }
  const StatusWriter status(flags.role.status_fd, absl::Milliseconds(50), [] {
    StatusBeat beat;
    beat.ready = 1;
    return beat;
  });
  WaitForStopSignal();
  server->Shutdown();
  return absl::OkStatus();
}

}  // namespace

void AddSchedulerCommand(CLI::App& app, Run& run) {
  auto flags = std::make_shared<SchedulerRoleFlags>();
  CLI::App* scheduler =
      app.add_subcommand("scheduler", "Run one scheduler (a role of `serve`, alone)");
  flags->role.Add(*scheduler, "where servers attach: host:port or unix:path");
  scheduler
      ->add_option("--group", flags->groups,
                   "addresses of one worker group's ranks, in rank order, separated by commas; "
                   "again for each further group")
      ->required();
  scheduler
      ->add_option(
          "--step-tokens", flags->step_tokens,
          absl::StrCat("token budget of one step; give that of the workers: where they are "
                       "not told, ",
                       StepTokensOn("cpu"), " on the CPU, ", StepTokensOn("cuda"), " on a GPU"))
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  scheduler
      ->add_option("--rendezvous-dir", flags->rendezvous_dir,
                   "folder in which the ranks of a group meet")
      ->required();
  scheduler->add_option("--metrics-listen", flags->metrics,
                        absl::StrCat("host:port of the Prometheus page. ", kMetricsHelp));
  scheduler->add_option("--model-name", flags->model_name, "label model_name of the metrics");
  flags->scheduler.Add(*scheduler);
  flags->log.Add(*scheduler);
  scheduler->callback([flags, &run] {
    run = [flags] { return EndWithCause(flags->role.status_fd, RunScheduler(*flags)); };
  });
}

}  // namespace headgate
