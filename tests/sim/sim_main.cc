// Runs seeds through the simulator.
//
//   scheduler_sim --first 1 --seeds 2000            each seed once, the first 50 twice; all marks
//   hit scheduler_sim --first 17 --seeds 1 --verbose    one seed, with its configuration
//   scheduler_sim --expect-caught                   a planted bug must be caught within the seeds
//
// The seeds run in a child process, so that a broken invariant (abort) is a finding too. Exit code
// 0: as it should be; 1: not; 2: bad arguments.
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <charconv>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <string_view>

#include "tests/sim/sim_config.h"
#include "tests/sim/simulation.h"

namespace headgate::sim {
namespace {

struct Options {
  uint64_t first = 1;
  uint64_t seeds = 2000;
  bool verbose = false;
  bool expect_caught = false;
};

constexpr uint64_t kRunTwice = 50;
constexpr uint64_t kMarksNeedSeeds = 1000;  // fewer seeds cannot be asked to reach everything
constexpr int kFoundExit = 3;

void PrintFinding(const SimConfig& config, const SimReport& report) {
  std::printf("FAILED at %.6f s: %s\n%s\nreplay: scheduler_sim --first %llu --seeds 1 --verbose\n",
              static_cast<double>(report.failed_at_us) * 1e-6,
              std::string(report.status.message()).c_str(), config.Describe().c_str(),
              static_cast<unsigned long long>(config.seed));
}

bool ParseNumber(const char* text, uint64_t& to) {
  const auto [end, error] = std::from_chars(text, text + std::strlen(text), to);
  return error == std::errc() && *end == '\0';
}

bool Parse(int argc, char** argv, Options& options) {
  for (int i = 1; i < argc; ++i) {
    const std::string_view flag = argv[i];
    const bool has_value = i + 1 < argc;
    if (flag == "--verbose") {
      options.verbose = true;
    } else if (flag == "--expect-caught") {
      options.expect_caught = true;
    } else if (flag == "--first" && has_value && ParseNumber(argv[++i], options.first)) {
    } else if (flag == "--seeds" && has_value && ParseNumber(argv[++i], options.seeds)) {
    } else {
      std::fprintf(stderr, "unknown or incomplete flag %s\n", argv[i]);
      return false;
    }
  }
  return true;
}

bool AllMarksHit(const SchedulerMarks& marks, bool verbose) {
  bool all = true;
  for (size_t i = 0; i < kMarkCount; ++i) {
    const bool hit = marks.visits[i] > 0;
    all &= hit;
    if (verbose || !hit) {
      std::printf("mark %-26s %llu%s\n", MarkName(static_cast<Mark>(i)),
                  static_cast<unsigned long long>(marks.visits[i]), hit ? "" : "  NEVER HIT");
    }
  }
  return all;
}

int RunSeeds(const Options& options, volatile uint64_t* current_seed) {
  SchedulerMarks marks;
  uint64_t steps = 0;
  uint64_t tokens = 0;
  const std::clock_t begin = std::clock();
  for (uint64_t seed = options.first; seed < options.first + options.seeds; ++seed) {
    *current_seed = seed;
    const SimConfig config = DrawConfig(seed);
    if (options.verbose && options.seeds == 1) std::printf("%s\n", config.Describe().c_str());
    SimReport report = Simulation(config).Run();
    if (report.status.ok() && seed - options.first < kRunTwice) {
      const SimReport again = Simulation(config).Run();
      steps += again.steps;
      if (again.trace != report.trace) {
        report.status = absl::InternalError("two runs of one seed differ");
      }
    }
    if (!report.status.ok()) {
      PrintFinding(config, report);
      return kFoundExit;
    }
    steps += report.steps;
    tokens += report.useful_tokens;
    for (size_t i = 0; i < kMarkCount; ++i) marks.visits[i] += report.marks.visits[i];
  }
  const double seconds = static_cast<double>(std::clock() - begin) / CLOCKS_PER_SEC;
  std::printf("%llu seeds, %llu steps, %llu tokens in %.2f s of one core: %.0f steps/s\n",
              static_cast<unsigned long long>(options.seeds),
              static_cast<unsigned long long>(steps), static_cast<unsigned long long>(tokens),
              seconds, static_cast<double>(steps) / seconds);
  const bool all_hit = AllMarksHit(marks, options.verbose);
  return all_hit || options.seeds < kMarksNeedSeeds ? 0 : 1;
}

int Main(int argc, char** argv) {
  Options options;
  if (!Parse(argc, argv, options)) return 2;
  void* const shared =
      mmap(nullptr, sizeof(uint64_t), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return 2;
  auto* const current_seed = static_cast<volatile uint64_t*>(shared);
  const pid_t child = fork();
  if (child < 0) return 2;
  if (child == 0) {
    const int code = RunSeeds(options, current_seed);
    std::fflush(stdout);
    _exit(code);
  }
  int status = 0;
  if (waitpid(child, &status, 0) != child) return 2;
  const bool aborted = WIFSIGNALED(status);
  if (aborted) {
    const uint64_t seed = *current_seed;
    std::printf("FAILED: signal %d\n%s\nreplay: scheduler_sim --first %llu --seeds 1 --verbose\n",
                WTERMSIG(status), DrawConfig(seed).Describe().c_str(),
                static_cast<unsigned long long>(seed));
  }
  const bool caught = aborted || WEXITSTATUS(status) == kFoundExit;
  if (options.expect_caught) {
    std::printf(caught ? "caught, as it should be\n" : "the planted bug SURVIVED\n");
    return caught ? 0 : 1;
  }
  return !aborted && WEXITSTATUS(status) == 0 ? 0 : 1;
}

}  // namespace
}  // namespace headgate::sim

int main(int argc, char** argv) { return headgate::sim::Main(argc, argv); }
