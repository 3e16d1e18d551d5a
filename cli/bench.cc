// `headgate bench`: measurements, printed as a table or as JSON.
#include <iostream>
#include <memory>

#if HEADGATE_WITH_CUDA
#include "cli/bench/gpu_bench.h"
#endif
#include "cli/bench/scheduler_bench.h"
#include "cli/bench/serve_bench.h"
#include "cli/bench/step_bench.h"
#include "cli/command.h"

namespace headgate {
namespace {

void AddServeBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<ServeBenchOptions>();
  CLI::App* serve = bench.add_subcommand(
      "serve", "Decode and prompt processing of a running server, beside llama.cpp's");
  serve->add_option("--server", options->server, "host:port or unix:path")->capture_default_str();
  serve->add_option("--peer", options->peer, "host:port of a llama-server to alternate with");
  serve->add_option("--runs", options->runs, "runs of each workload")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  serve->add_option("--vocab", options->vocab, "prompts are random token ids below this")
      ->check(CLI::Range(200, 1 << 22))
      ->capture_default_str();
  serve->add_flag("--json", options->json, "one JSON array");
  serve->callback(
      [options, &run] { run = [options] { return RunServeBench(*options, std::cout); }; });
}

void AddSchedulerBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<SchedulerBenchOptions>();
  CLI::App* scheduler = bench.add_subcommand("scheduler", "Time of one step of the scheduler core");
  AddSchedulerBenchOptions(*scheduler, *options);
  scheduler->callback(
      [options, &run] { run = [options] { return RunSchedulerBench(*options, std::cout); }; });
}

void AddStepBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<StepBenchOptions>();
  CLI::App* step = bench.add_subcommand("step", "Time of a whole decode step, random weights");
  AddStepBenchOptions(*step, *options);
  step->callback(
      [options, &run] { run = [options] { return RunStepBench(*options, std::cout); }; });
}

}  // namespace

void AddBenchCommand(CLI::App& app, Run& run) {
  CLI::App* bench = app.add_subcommand("bench", "Measure");
  bench->require_subcommand(1);
  AddServeBench(*bench, run);
  AddSchedulerBench(*bench, run);
  AddStepBench(*bench, run);
#if HEADGATE_WITH_CUDA
  AddGpuBenches(*bench, run);
#endif
}

}  // namespace headgate
