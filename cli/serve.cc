// `headgate serve`: every role on this machine, supervised. The processes and links are those of a
// cluster; only the addresses are unix sockets in a run folder.
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>
#include <thread>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/host_port.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/logging.h"
#include "cli/role_flags.h"
#include "cli/supervisor.h"
#include "proto/link.h"

namespace headgate {
namespace {

namespace fs = std::filesystem;

constexpr size_t kRunDirMax = 85;  // a unix socket's path has at most 107 bytes

struct ServeFlags {
  WorkerFlags worker;
  SchedulerFlags scheduler;
  ServerFlags server;
  LogFlags log;
  int ranks = 1;
  int groups = 1;
  std::string metrics = "127.0.0.1:9464";
  std::string run_dir;
};

// Removes the folder of sockets when the service has stopped.
class RunDir {
 public:
  static absl::StatusOr<std::unique_ptr<RunDir>> Make(const std::string& wanted) {
    std::error_code error;
    if (!wanted.empty()) {
      fs::create_directories(wanted, error);
      if (error) {
        return absl::InvalidArgumentError(
            absl::StrCat("--run-dir ", wanted, ": ", error.message()));
      }
      return std::unique_ptr<RunDir>(new RunDir(wanted, false));
    }
    std::string made = (fs::temp_directory_path() / "headgate-XXXXXX").string();
    if (mkdtemp(made.data()) == nullptr) return absl::ErrnoToStatus(errno, made);
    return std::unique_ptr<RunDir>(new RunDir(made, true));
  }
  ~RunDir() {
    std::error_code ignored;
    if (owned_) fs::remove_all(path_, ignored);
  }
  RunDir(const RunDir&) = delete;
  RunDir& operator=(const RunDir&) = delete;

  std::string Socket(const std::string& name) const {
    return absl::StrCat("unix:", path_.string(), "/", name, ".sock");
  }
  std::string path() const { return path_.string(); }

 private:
  RunDir(fs::path path, bool owned) : path_(std::move(path)), owned_(owned) {}
  const fs::path path_;
  const bool owned_;
};

void Append(std::vector<std::string>& args, const std::vector<std::string>& more) {
  args.insert(args.end(), more.begin(), more.end());
}

// The same host, the next port: the scheduler's metrics beside the server's.
absl::StatusOr<std::string> NextPort(const std::string& address) {
  const std::optional<HostPort> tcp = ParseHostPort(address);
  if (!tcp.has_value() || !(1 <= tcp->port && tcp->port < 65535)) {
    return absl::InvalidArgumentError(
        absl::StrCat("--metrics-listen '", address, "': give host:port, port in 1 to 65534"));
  }
  return absl::StrCat(tcp->host, ":", tcp->port + 1);
}

std::string WorkerName(int group, int rank) { return absl::StrCat("worker-", group, "-", rank); }

UnitSpec GroupUnit(const ServeFlags& flags, const std::string& self, const RunDir& run, int group) {
  UnitSpec unit{absl::StrCat("worker group ", group), {}};
  for (int rank = 0; rank < flags.ranks; ++rank) {
    ProcessSpec process{WorkerName(group, rank), {self, "worker"}};
    process.argv.push_back(absl::StrCat("--listen=", run.Socket(WorkerName(group, rank))));
    process.argv.push_back(absl::StrCat("--name=", WorkerName(group, rank)));
    WorkerFlags worker = flags.worker;
    if (worker.device == "cuda") {
      worker.device = absl::StrCat("cuda:", group * flags.ranks + rank);
    }
    Append(process.argv, worker.ToArgs());
    Append(process.argv, flags.log.ToArgs());
    unit.processes.push_back(std::move(process));
  }
  return unit;
}

UnitSpec SchedulerUnit(const ServeFlags& flags, const std::string& self, const RunDir& run,
                       const std::string& metrics) {
  ProcessSpec process{"scheduler", {self, "scheduler"}};
  process.argv.push_back(absl::StrCat("--listen=", run.Socket("scheduler")));
  process.argv.push_back(absl::StrCat("--metrics-listen=", metrics));
  process.argv.push_back(absl::StrCat("--rendezvous-dir=", run.path()));
  process.argv.push_back(absl::StrCat("--step-tokens=", flags.worker.StepTokens()));
  process.argv.push_back(absl::StrCat("--model-name=", flags.server.model_name));
  for (int group = 0; group < flags.groups; ++group) {
    std::string ranks;
    for (int rank = 0; rank < flags.ranks; ++rank) {
      absl::StrAppend(&ranks, rank > 0 ? "," : "", run.Socket(WorkerName(group, rank)));
    }
    process.argv.push_back(absl::StrCat("--group=", ranks));
  }
  Append(process.argv, flags.scheduler.ToArgs());
  Append(process.argv, flags.log.ToArgs());
  return {"scheduler", {std::move(process)}};
}

UnitSpec ServerUnit(const ServeFlags& flags, const std::string& self, const RunDir& run) {
  ProcessSpec process{"server", {self, "server"}};
  process.argv.push_back(absl::StrCat("--scheduler=", run.Socket("scheduler")));
  Append(process.argv, flags.worker.model.ToArgs());
  process.argv.push_back(absl::StrCat("--metrics-listen=", flags.metrics));
  Append(process.argv, flags.server.ToArgs());
  Append(process.argv, flags.log.ToArgs());
  return {"server", {std::move(process)}};
}

absl::Status Serve(ServeFlags flags) {
  RETURN_IF_ERROR(StartLogging("serve", flags.log.level));
  ASSIGN_OR_RETURN(const ModelSource model, flags.worker.model.Source());
  RETURN_IF_ERROR(CheckMayBePlain(flags.server.listen, false));
  if (flags.server.model_name.empty()) flags.server.model_name = DefaultName(model);
  if (flags.worker.threads == 0) {
    const int cores = static_cast<int>(std::thread::hardware_concurrency());
    flags.worker.threads = std::max(1, cores / (flags.ranks * flags.groups));
  }
  ASSIGN_OR_RETURN(const auto run, RunDir::Make(flags.run_dir));
  if (run->path().size() > kRunDirMax || absl::StrContains(run->path(), ',')) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--run-dir ", run->path(), ": unix sockets lie in it, so give a path of at most ",
        kRunDirMax, " bytes without a comma"));
  }
  ASSIGN_OR_RETURN(const std::string scheduler_metrics, NextPort(flags.metrics));
  std::error_code error;
  const std::string self = fs::read_symlink("/proc/self/exe", error).string();
  std::vector<UnitSpec> units;
  for (int group = 0; group < flags.groups; ++group) {
    units.push_back(GroupUnit(flags, self, *run, group));
  }
  units.push_back(SchedulerUnit(flags, self, *run, scheduler_metrics));
  units.push_back(ServerUnit(flags, self, *run));

  SupervisorOptions options;
  options.watchdog_limit = absl::Seconds(flags.scheduler.watchdog_s);
  Supervisor supervisor(options, std::move(units));
  return supervisor.Run([&] {
    std::printf("ready: gRPC on %s, metrics on http://%s/metrics and http://%s/metrics\n",
                flags.server.listen.c_str(), flags.metrics.c_str(), scheduler_metrics.c_str());
    std::fflush(stdout);
  });
}

}  // namespace

void AddServeCommand(CLI::App& app, Run& run) {
  auto flags = std::make_shared<ServeFlags>();
  CLI::App* serve = app.add_subcommand(
      "serve", "Serve a model on this machine: server, scheduler and workers, supervised");
  serve->footer(absl::StrCat(
      "Examples:\n"
      "  headgate serve --model DIR --ranks 2 --kv-memory-mib 4096\n"
      "  headgate serve --model DIR --policy PATTERN_DIR --sparsity 0.5\n"
      "  headgate serve --shape llama3-8b --device cuda    (to measure, see `bench serve`)\n"
      "SIGTERM or Ctrl-C ends it: live answers have 4 s to finish.\n",
      kExitCodesHelp));
  flags->worker.Add(*serve);
  serve->add_option("--ranks", flags->ranks, "workers that share the model (tensor parallelism)")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  serve->add_option("--groups", flags->groups, "replicas of the model (data parallelism)")
      ->check(CLI::Range(1, 64))
      ->capture_default_str();
  flags->server.Add(*serve);
  serve
      ->add_option("--metrics-listen", flags->metrics,
                   absl::StrCat("host:port of the server's Prometheus page; the scheduler's is one "
                                "port above. ",
                                kMetricsHelp))
      ->capture_default_str();
  flags->scheduler.Add(*serve);
  serve->add_option("--run-dir", flags->run_dir, "folder for sockets; default: a temporary one");
  flags->log.Add(*serve);
  serve->callback([flags, &run] { run = [flags] { return Serve(*flags); }; });
}

}  // namespace headgate
