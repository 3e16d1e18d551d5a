#include "cli/bench/gpu_bench.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/bench/gpu_attention_bench.h"
#include "cli/bench/gpu_matmul_bench.h"
#include "cli/bench/report.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/bench/gpu_ranks.h"
#include "worker/cuda/bench/layer_bench.h"
#include "worker/cuda/bench/peer_bench.h"
#include "worker/cuda/bench/prefill_bench.h"
#include "worker/cuda/bench/row_bench.h"
#include "worker/cuda/bench/sample_bench.h"

namespace headgate {
namespace {

constexpr int64_t kK = 1024;

absl::Status RunCopy(bool json) {
  Report report(json);
  ASSIGN_OR_RETURN(const std::vector<Bandwidth> rates, MeasureBandwidth(int64_t{4} << 30));
  for (const Bandwidth& rate : rates) {
    report.Add(absl::StrFormat("%-42s %6.3f TB/s", rate.name, rate.tb_s),
               {{"name", rate.name}, {"tb_per_s", rate.tb_s}});
  }
  report.Finish();
  return absl::OkStatus();
}

absl::Status RunPrefill(bool json) {
  Report report(json);
  double full_ms = 0.0;  // of the same prompt
  for (const int64_t tokens : {8 * kK, 32 * kK, 128 * kK}) {
    for (const bool streaming : {false, true}) {
      for (const int64_t chunk : {tokens, 8 * kK}) {
        PrefillBenchOptions options;
        options.tokens = tokens;
        options.chunk = chunk;
        options.streaming = streaming;
        ASSIGN_OR_RETURN(const PrefillBenchResult result, BenchPrefill(options));
        if (!streaming && chunk == tokens) full_ms = result.milliseconds;
        const std::string name = absl::StrCat(streaming ? "streaming" : "full", " ", tokens / kK,
                                              "K in chunks of ", chunk / kK, "K");
        const std::string rate =
            streaming ? absl::StrFormat("%5.1f %% of full", 100.0 * result.milliseconds / full_ms)
                      : absl::StrFormat("%6.1f TFLOP/s", result.tflops);
        nlohmann::json values = {
            {"case", name}, {"ms", result.milliseconds}, {"append_ms", result.append_ms}};
        if (streaming) {
          values["of_full"] = result.milliseconds / full_ms;
        } else {
          values["tflops"] = result.tflops;
        }
        report.Add(absl::StrFormat("%-34s %9.2f ms / layer  %s, writing pages %.3f ms", name,
                                   result.milliseconds, rate, result.append_ms),
                   std::move(values));
        if (chunk == 8 * kK) break;  // 8K: the two chunkings are one
      }
    }
  }
  report.Finish();
  return absl::OkStatus();
}

// Of one of the ranks; rank 0 reports.
absl::Status MeasureAllReduce(Collective& peers, bool json) {
  constexpr int64_t kCols = 4096;
  constexpr int64_t kRowsMax = 4096;
  Report report(json);
  ASSIGN_OR_RETURN(const std::unique_ptr<PeerBench> bench,
                   PeerBench::Create(peers, kRowsMax, kCols));
  for (int64_t rows = 1; rows <= kRowsMax; rows *= 2) {
    ASSIGN_OR_RETURN(const PeerSumTimes times, bench->Measure(rows));
    if (peers.rank() != 0) continue;
    report.Add(
        absl::StrFormat("%5d KB  fused %7.2f  plain %7.2f  NCCL %7.2f  NCCL and norm %7.2f us",
                        rows * kCols * 2 / kK, times.fused_us, times.plain_us, times.nccl_us,
                        times.nccl_norm_us),
        {{"ranks", peers.size()},
         {"bytes", rows * kCols * 2},
         {"fused_us", times.fused_us},
         {"plain_us", times.plain_us},
         {"nccl_us", times.nccl_us},
         {"nccl_norm_us", times.nccl_norm_us}});
  }
  if (peers.rank() == 0) report.Finish();
  return absl::OkStatus();
}

absl::Status RunAllReduce(bool json) {
  const int gpus = std::min(CountGpus(), kPeersMax);
  if (gpus < 2) return absl::UnavailableError("bench: sums over ranks need two GPUs or more");
  return RunOnGpus(gpus, absl::Minutes(5),
                   [json](Collective& peers) { return MeasureAllReduce(peers, json); });
}

struct SampleCase {
  std::string name;
  SamplingParams params;
};

std::vector<SampleCase> SampleCases() {
  std::vector<SampleCase> cases(6);
  cases[0].name = "greedy";
  for (size_t i = 1; i < cases.size(); ++i) cases[i].params.temperature = 0.8f;
  cases[1].name = "temperature 0.8";
  cases[2].name = "top_p 0.9";
  cases[2].params.top_p = 0.9f;
  cases[3].name = "top_k 50, top_p 0.9";
  cases[3].params.top_k = 50;
  cases[3].params.top_p = 0.9f;
  cases[4] = cases[3];
  cases[4].name += ", penalties";
  cases[4].params.repetition_penalty = 1.2f;
  cases[4].params.frequency_penalty = 0.5f;
  cases[5].name = "20 log-probabilities";
  cases[5].params.top_logprobs = 20;
  return cases;
}

absl::Status RunSample(bool json) {
  Report report(json);
  for (const SampleCase& one : SampleCases()) {
    for (const bool peaked : {true, false}) {
      std::string line = absl::StrFormat("%-32s %-6s", one.name, peaked ? "peaked" : "flat");
      nlohmann::json values = {{"case", one.name}, {"peaked", peaked}};
      for (const int64_t rows : {1, 8, 64}) {
        SampleBenchOptions options;
        options.rows = rows;
        options.params = one.params;
        options.peaked = peaked;
        ASSIGN_OR_RETURN(const double us, BenchSample(options));
        absl::StrAppend(&line, absl::StrFormat("  %d rows %6.1f us", rows, us));
        values[absl::StrCat("us_of_", rows)] = us;
      }
      report.Add(line, std::move(values));
    }
  }
  report.Finish();
  return absl::OkStatus();
}

// All kernels of a layer, and the same with every operation in a kernel of its own.
absl::Status RunLayer(bool json) {
  struct Case {
    int64_t rows;
    int64_t context;
    int64_t layers;
  };
  constexpr Case kCases[] = {{1, kK, 8},      {4, kK, 8},      {16, kK, 8},     {64, kK, 8},
                             {1, 32 * kK, 8}, {64, 4 * kK, 4}, {16, 32 * kK, 4}};
  LayerWays separate;
  separate.rotate_in_attention = separate.gate_in_product = false;
  LayerWays no_attention, attention;
  no_attention.attention = attention.products = false;
  Report report(json);
  for (const Case& one : kCases) {
    ASSIGN_OR_RETURN(const std::unique_ptr<LayerBench> bench,
                     LayerBench::Create(one.rows, one.context, one.layers));
    ASSIGN_OR_RETURN(const double separate_us, bench->LayerUs(separate));
    ASSIGN_OR_RETURN(const double us, bench->LayerUs({}));
    ASSIGN_OR_RETURN(const double no_attention_us, bench->LayerUs(no_attention));
    ASSIGN_OR_RETURN(const double attention_us, bench->LayerUs(attention));
    report.Add(
        absl::StrFormat("%2d x %5d  %7.1f us / layer  without attention %7.1f, attention "
                        "alone %7.1f, an operation a kernel %7.1f",
                        one.rows, one.context, us, no_attention_us, attention_us, separate_us),
        {{"rows", one.rows},
         {"context", one.context},
         {"layer_us", us},
         {"without_attention_us", no_attention_us},
         {"attention_us", attention_us},
         {"separate_us", separate_us}});
  }
  report.Finish();
  return absl::OkStatus();
}

absl::Status RunRows(bool json) {
  constexpr int64_t kRows = 8192;
  Report report(json);
  ASSIGN_OR_RETURN(const std::vector<RowOpTime> times, BenchRowOps(kRows));
  for (const RowOpTime& time : times) {
    const double tb_s = time.bytes / time.us / 1e6;
    report.Add(absl::StrFormat("%-14s %d rows  %8.2f us  %6.1f MB  %6.3f TB/s", time.name, kRows,
                               time.us, time.bytes / 1e6, tb_s),
               {{"name", time.name}, {"rows", kRows}, {"us", time.us}, {"tb_per_s", tb_s}});
  }
  report.Finish();
  return absl::OkStatus();
}

void AddBench(CLI::App& bench, Run& run, const char* name, const char* what,
              absl::Status (*measure)(bool json)) {
  auto json = std::make_shared<bool>(false);
  CLI::App* one = bench.add_subcommand(name, what);
  one->add_flag("--json", *json, "one JSON array");
  one->callback([json, measure, &run] { run = [json, measure] { return measure(*json); }; });
}

}  // namespace

void AddGpuBenches(CLI::App& bench, Run& run) {
  AddBench(bench, run, "copy", "What the GPU's memory delivers: the ceilings", RunCopy);
  AddGpuAttentionBench(bench, run);
  AddBench(bench, run, "prefill", "Prefill attention from pages", RunPrefill);
  AddGpuMatMulBench(bench, run);
  AddBench(bench, run, "rows", "A prompt step's row operations, against the bytes they move",
           RunRows);
  AddBench(bench, run, "layer", "A decode step's layer: all its kernels", RunLayer);
  AddBench(bench, run, "allreduce", "Sums over all GPUs of a decode step's rows, beside NCCL's",
           RunAllReduce);
  AddBench(bench, run, "sample", "Choosing a token from 128,256 logits", RunSample);
}

}  // namespace headgate
