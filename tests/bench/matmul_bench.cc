// Prints what memory delivers, and decode's matrix products of a Llama 3 8B beside it. Argument
// `plans`: also every way in which the small kernel can share the work, to choose from.
#include "worker/cuda/bench/matmul_bench.h"

#include <cstdio>
#include <cstring>

#include "worker/cuda/bench/copy_bench.h"

namespace headgate {
namespace {

struct Layer {
  const char* name;
  int64_t n;
  int64_t k;
};
constexpr Layer kLayers[] = {{"qkv", 6144, 4096},
                             {"o", 4096, 4096},
                             {"gate_up", 28672, 4096},
                             {"down", 4096, 14336},
                             {"head", 128256, 4096}};

int Fail(const absl::Status& status) {
  std::fprintf(stderr, "%s\n", status.ToString().c_str());
  return 1;
}

int PrintPlans(MatMulBench& bench) {
  for (const Layer& layer : kLayers) {
    for (const int64_t m : {1, 2, 4, 8, 16}) {
      std::printf("%-8s m %2d:", layer.name, static_cast<int>(m));
      for (const int blocks_per_sm : {1, 2}) {
        const auto plan = bench.small().PlanOf({.m = m, .n = layer.n, .k = layer.k}, blocks_per_sm);
        if (!plan) {
          std::printf("     -");
          continue;
        }
        const auto us = bench.SmallUs({layer.n, layer.k, m}, *plan);
        if (!us.ok()) return Fail(us.status());
        const double bytes = static_cast<double>(layer.n * layer.k * 2);
        std::printf(" %5.1f", 100 * bytes / *us / 1e6 / bench.linear_read_tb_s());
      }
      std::printf("\n");
    }
  }
  return 0;
}

int Main(bool plans) {
  const auto rates = MeasureBandwidth(int64_t{4} << 30);
  if (!rates.ok()) return Fail(rates.status());
  for (const Bandwidth& rate : *rates)
    std::printf("%-20s %6.3f TB/s\n", rate.name.c_str(), rate.tb_s);
  const auto bench = MatMulBench::Create(int64_t{8} << 30);
  if (!bench.ok()) return Fail(bench.status());
  std::printf("linear read of 8 GB  %6.3f TB/s\n", (*bench)->linear_read_tb_s());
  if (plans) {
    std::printf("%% of the linear read with 1 and with 2 blocks on an SM\n");
    return PrintPlans(**bench);
  }
  std::printf("%-8s %3s %9s %9s %7s %6s %7s\n", "matrix", "m", "cublas us", "us", "TB/s", "%read",
              "faster");
  for (const Layer& layer : kLayers) {
    for (const int64_t m : {1, 2, 4, 8, 16}) {
      const auto time = (*bench)->Measure({layer.n, layer.k, m});
      if (!time.ok()) return Fail(time.status());
      const double bytes = static_cast<double>(layer.n * layer.k * 2);
      std::printf("%-8s %3d %9.2f", layer.name, static_cast<int>(m), time->lt_us);
      if (time->small_us > 0) {
        std::printf(" %9.2f %7.3f %6.1f %7.2f", time->small_us, bytes / time->small_us / 1e6,
                    100 * time->read_us / time->small_us, time->lt_us / time->small_us);
      }
      std::printf("\n");
    }
  }
  return 0;
}

}  // namespace
}  // namespace headgate

int main(int argc, char** argv) {
  return headgate::Main(argc > 1 && std::strcmp(argv[1], "plans") == 0);
}
