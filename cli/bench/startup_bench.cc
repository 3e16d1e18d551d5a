#include "cli/bench/startup_bench.h"

#include <unistd.h>

#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <sstream>
#include <utility>

#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "worker/phase_times.h"
#include "worker/worker.h"

namespace headgate {
namespace {

// When the kernel started this process, from /proc (10 ms fine). Now, where it cannot be read.
absl::Time ProcessStart() {
  const absl::Time now = absl::Now();
  std::ifstream stat_file("/proc/self/stat"), uptime_file("/proc/uptime");
  std::string stat;
  std::getline(stat_file, stat);
  const size_t name_end = stat.rfind(')');  // the name may hold anything
  double uptime_s = 0.0;
  if (name_end == std::string::npos || !(uptime_file >> uptime_s)) return now;
  std::istringstream fields(stat.substr(name_end + 1));
  std::string skipped;
  constexpr int kFieldsBetween = 19;  // starttime is the 22nd field, the name the 2nd
  for (int i = 0; i < kFieldsBetween; ++i) fields >> skipped;
  double start_ticks = 0.0;
  if (!(fields >> start_ticks)) return now;
  return now - absl::Seconds(uptime_s - start_ticks / static_cast<double>(sysconf(_SC_CLK_TCK)));
}

}  // namespace

void AddStartupBenchOptions(CLI::App& command, StartupBenchOptions& options) {
  options.model.Add(command);
  command.add_option("--device", options.device, "cpu, cuda or cuda:<number>")
      ->capture_default_str();
  command.add_flag("--json", options.json, "one JSON object");
}

absl::Status RunStartupBench(const StartupBenchOptions& options, std::ostream& out) {
  const absl::Time start = ProcessStart();
  PhaseTimes times("starting the process", start);
  WorkerOptions worker;
  ASSIGN_OR_RETURN(worker.model, options.model.Source());
  worker.device = options.device;
  worker.pages.memory_bytes = PageMemoryOn(options.device);
  worker.step_tokens_max = StepTokensOn(options.device);
  ASSIGN_OR_RETURN(const std::unique_ptr<Worker> made,
                   Worker::Create(worker, [&times](std::string_view phase, double) {
                     times.Report(phase, absl::Now());
                   }));
  const double total = absl::ToDoubleSeconds(absl::Now() - start);
  nlohmann::json phases = nlohmann::json::array();
  for (const PhaseTime& phase : times.ended()) {
    const double seconds = absl::ToDoubleSeconds(phase.took);
    phases.push_back({{"phase", phase.phase}, {"s", seconds}});
    if (!options.json) out << absl::StreamFormat("%-24s %8.3f s\n", phase.phase, seconds);
  }
  if (options.json) {
    out << nlohmann::json{{"device", made->Describe()}, {"ready_s", total}, {"phases", phases}}
        << "\n";
  } else {
    out << absl::StreamFormat("%-24s %8.3f s\n%s\n", "ready", total, made->Describe());
  }
  return absl::OkStatus();
}

}  // namespace headgate
