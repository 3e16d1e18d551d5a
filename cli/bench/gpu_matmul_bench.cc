#include "cli/bench/gpu_matmul_bench.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "cli/bench/report.h"
#include "worker/cuda/bench/matmul_bench.h"

namespace headgate {
namespace {

struct MatMulOptions {
  std::vector<int64_t> rows;  // empty: those that the measurement is about
  int algorithms = 0;         // 0: the product path alone
  int64_t ranks = 1;          // that share the matrices
  bool json = false;
};

struct Matrix {
  const char* name;
  int64_t n;
  int64_t k;
};

// A rank's part: of outputs, or of the columns that the products before it left there.
std::vector<Matrix> LayerMatrices(int64_t ranks) {
  return {{"qkv", 6144 / ranks, 4096},
          {"o", 4096, 4096 / ranks},
          {"gate_up", 28672 / ranks, 4096},
          {"down", 4096, 14336 / ranks}};
}
// Of a prompt's last row only.
Matrix HeadMatrix(int64_t ranks) { return {"head", 128256 / ranks, 4096}; }

absl::Status RunFewRows(const MatMulOptions& options) {
  const std::vector<int64_t> rows =
      options.rows.empty() ? std::vector<int64_t>{1, 2, 4, 8, 16, 32, 64, 96, 128} : options.rows;
  std::vector<Matrix> matrices = LayerMatrices(options.ranks);
  matrices.push_back(HeadMatrix(options.ranks));
  Report report(options.json);
  ASSIGN_OR_RETURN(const std::unique_ptr<MatMulBench> bench, MatMulBench::Create({}));
  for (const Matrix& matrix : matrices) {
    for (const int64_t m : rows) {
      ASSIGN_OR_RETURN(const MatMulTime time, bench->Measure({matrix.n, matrix.k, m}));
      report.Add(
          absl::StrFormat("%-8s %2d rows  %7.2f us  %5.1f %% of reading, cuBLASLt %7.2f us",
                          matrix.name, m, time.us, 100.0 * time.read_us / time.us, time.lt_us),
          {{"matrix", matrix.name},
           {"rows", m},
           {"us", time.us},
           {"cublaslt_us", time.lt_us},
           {"share", time.read_us / time.us}});
    }
  }
  report.Finish();
  return absl::OkStatus();
}

// The most that any algorithm reaches on a large square product: bf16's peak, measured.
absl::StatusOr<double> PeakTflops(MatMulBench& bench, const MatMulSize& size, int algorithms) {
  ASSIGN_OR_RETURN(const std::vector<AlgorithmTime> times,
                   bench.MeasureAlgorithms(size, algorithms));
  double peak = 0.0;
  for (const AlgorithmTime& time : times) peak = std::max(peak, time.tflops);
  if (peak > 0.0) return peak;
  return absl::UnavailableError("bench: cuBLASLt multiplies no square matrices");
}

absl::Status ReportAlgorithms(MatMulBench& bench, const Matrix& matrix, const MatMulSize& size,
                              int algorithms, double peak, Report& report) {
  ASSIGN_OR_RETURN(const std::vector<AlgorithmTime> times,
                   bench.MeasureAlgorithms(size, algorithms));
  for (size_t i = 0; i < times.size(); ++i) {
    const AlgorithmTime& time = times[i];
    const std::string measured =
        time.us > 0.0 ? absl::StrFormat("%9.2f us  %6.1f TFLOP/s  %5.1f %% of the peak", time.us,
                                        time.tflops, 100.0 * time.tflops / peak)
                      : "fails";
    report.Add(absl::StrFormat("%-8s %5d rows  %2d  %s, workspace %d KiB%s", matrix.name, size.m, i,
                               measured, time.workspace_bytes >> 10, time.taken ? "  (taken)" : ""),
               {{"matrix", matrix.name},
                {"rows", size.m},
                {"algorithm", i},
                {"taken", time.taken},
                {"us", time.us},
                {"tflops", time.tflops},
                {"share", time.tflops / peak},
                {"workspace_bytes", time.workspace_bytes}});
  }
  return absl::OkStatus();
}

absl::Status RunAlgorithms(const MatMulOptions& options) {
  constexpr MatMulSize kSquare = {8192, 8192, 8192};
  const std::vector<int64_t> rows =
      options.rows.empty() ? std::vector<int64_t>{256, 512, 2048, 8192} : options.rows;
  const std::vector<Matrix> matrices = LayerMatrices(options.ranks);
  MatMulMemory memory;
  memory.x_bytes = kSquare.m * kSquare.k * 2;
  memory.out_bytes = kSquare.m * kSquare.n * 2;
  for (const int64_t m : rows) {
    for (const Matrix& matrix : matrices) {
      memory.x_bytes = std::max(memory.x_bytes, m * matrix.k * 2);
      memory.out_bytes = std::max(memory.out_bytes, m * matrix.n * 2);
    }
  }
  Report report(options.json);
  ASSIGN_OR_RETURN(const std::unique_ptr<MatMulBench> bench, MatMulBench::Create(memory));
  ASSIGN_OR_RETURN(const double peak, PeakTflops(*bench, kSquare, options.algorithms));
  report.Add(absl::StrFormat("peak: %.1f TFLOP/s, the best of 8192 x 8192 x 8192", peak),
             {{"matrix", "peak"}, {"tflops", peak}});
  for (const int64_t m : rows) {
    for (const Matrix& matrix : matrices) {
      RETURN_IF_ERROR(ReportAlgorithms(*bench, matrix, {matrix.n, matrix.k, m}, options.algorithms,
                                       peak, report));
    }
  }
  report.Finish();
  return absl::OkStatus();
}

}  // namespace

void AddGpuMatMulBench(CLI::App& bench, Run& run) {
  auto options = std::make_shared<MatMulOptions>();
  CLI::App* matmul = bench.add_subcommand("matmul", "A Llama 3 8B's matrix products");
  matmul
      ->add_option("--rows", options->rows,
                   "rows of the batch, several; 1 to 64 in twos, 96 and 128, or with --algorithms "
                   "256, 512, 2048 and 8192")
      ->delimiter(',')
      ->check(CLI::Range(int64_t{1}, int64_t{32768}));
  matmul
      ->add_option("--algorithms", options->algorithms,
                   "time so many algorithms that cuBLASLt offers for each product; 0: the "
                   "product path, against reading the weights")
      ->check(CLI::Range(0, 64))
      ->capture_default_str();
  matmul->add_option("--ranks", options->ranks, "the part of one of so many tensor-parallel ranks")
      ->check(CLI::IsMember({1, 2, 4, 8}))
      ->capture_default_str();
  matmul->add_flag("--json", options->json, "one JSON array");
  matmul->callback([options, &run] {
    run = [options] {
      return options->algorithms > 0 ? RunAlgorithms(*options) : RunFewRows(*options);
    };
  });
}

}  // namespace headgate
