// `headgate bench`: measurements, printed as a table or as JSON.
#include <iostream>
#include <memory>

#if HEADGATE_WITH_CUDA
#include "cli/bench/gpu_bench.h"
#endif
#include "cli/bench/prompt_bench.h"
#include "cli/bench/scheduler_bench.h"
#include "cli/bench/serve_bench.h"
#include "cli/bench/startup_bench.h"
#include "cli/bench/step_bench.h"
#include "cli/bench/trace_bench.h"
#include "cli/command.h"

namespace headgate {
namespace {

void AddServeBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<ServeBenchOptions>();
  CLI::App* serve = bench.add_subcommand(
      "serve", "Decode and prompt processing of a running server, beside llama.cpp's; or a trace");
  auto trace = std::make_shared<TraceBenchOptions>();
  serve->add_option("--server", options->server, "host:port or unix:path")->capture_default_str();
  CLI::Option* peer =
      serve->add_option("--peer", options->peer, "host:port of a llama-server to alternate with");
  CLI::Option* runs = serve->add_option("--runs", options->runs, "runs of each workload")
                          ->check(CLI::Range(1, 1000))
                          ->capture_default_str();
  CLI::Option* vocab =
      serve->add_option("--vocab", options->vocab, "prompts are random token ids below this")
          ->check(CLI::Range(200, 1 << 22))
          ->capture_default_str();
  CLI::Option* trace_file =
      serve
          ->add_option("--trace", trace->trace,
                       "replay this file instead: a request a line, prompt and output tokens, and "
                       "perhaps its arrival in seconds; without, all at once")
          ->excludes(peer)
          ->excludes(runs)
          ->excludes(vocab);
  serve->add_flag("--at-once", trace->at_once, "with --trace: ignore its arrival times")
      ->needs(trace_file);
  serve->add_flag("--json", options->json, "JSON: an array, or an object with --trace");
  serve->footer(
      "A trace of many requests needs room: `serve --streams-limit` (live requests of a server), "
      "`--running-limit` (that run at once) and `--waiting-limit` (that wait).");
  serve->callback([options, trace, &run] {
    run = [options, trace] {
      if (trace->trace.empty()) return RunServeBench(*options, std::cout);
      trace->server = options->server;
      trace->json = options->json;
      return RunTraceBench(*trace, std::cout);
    };
  });
}

void AddSchedulerBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<SchedulerBenchOptions>();
  CLI::App* scheduler = bench.add_subcommand("scheduler", "Time of one step of the scheduler core");
  AddSchedulerBenchOptions(*scheduler, *options);
  scheduler->callback(
      [options, &run] { run = [options] { return RunSchedulerBench(*options, std::cout); }; });
}

void AddPromptBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<PromptBenchOptions>();
  CLI::App* prompt = bench.add_subcommand("prompt", "Time of a whole prompt, random weights");
  AddPromptBenchOptions(*prompt, *options);
  prompt->callback(
      [options, &run] { run = [options] { return RunPromptBench(*options, std::cout); }; });
}

void AddStartupBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<StartupBenchOptions>();
  CLI::App* startup = bench.add_subcommand("startup", "Time of a worker's start, by phase");
  AddStartupBenchOptions(*startup, *options);
  startup->callback(
      [options, &run] { run = [options] { return RunStartupBench(*options, std::cout); }; });
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
  AddPromptBench(*bench, run);
  AddStartupBench(*bench, run);
#if HEADGATE_WITH_CUDA
  AddGpuBenches(*bench, run);
#endif
}

}  // namespace headgate
