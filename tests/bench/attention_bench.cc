// Decode attention on the GPU over the contexts of our targets. Not a test; one line per case.
#include "worker/cuda/bench/attention_bench.h"

#include <cstdio>
#include <vector>

namespace headgate {
namespace {

void Case(const char* name, const AttentionBenchOptions& options) {
  const auto result = BenchAttention(options);
  if (!result.ok()) {
    std::printf("%-36s %s\n", name, result.status().ToString().c_str());
    return;
  }
  std::printf("%-36s %8.1f us/layer %8.1f MB  %.3f TB/s of %.3f: %5.1f %%  plan %.1f us\n", name,
              result->layer_us, result->bytes * 1e-6, result->bytes_per_s * 1e-12,
              result->read_bytes_per_s * 1e-12,
              100.0 * result->bytes_per_s / result->read_bytes_per_s, result->plan_us);
  std::fflush(stdout);
}

std::vector<int64_t> Same(size_t batch, int64_t context) {
  return std::vector<int64_t>(batch, context);
}

void Run() {
  const int64_t k = 1024;
  const std::vector<int64_t> mixed = {1 * k,  2 * k,  3 * k,  5 * k,  8 * k,  12 * k,
                                      16 * k, 20 * k, 24 * k, 32 * k, 40 * k, 48 * k,
                                      64 * k, 80 * k, 96 * k, 128 * k};
  Case("batch 16 x 16K", {.contexts = Same(16, 16 * k)});
  Case("batch 64 x 16K, 8 layers", {.contexts = Same(64, 16 * k), .layers = 8});
  Case("batch 1 x 32K", {.contexts = Same(1, 32 * k)});
  Case("batch 1 x 128K", {.contexts = Same(1, 128 * k)});
  Case("batch 1 x 1M, 8 layers", {.contexts = Same(1, 1024 * k), .layers = 8});
  Case("mixed 1K-128K, 50 % streaming", {.contexts = mixed, .streaming_share = 0.5});
  Case("batch 64 x 1K", {.contexts = Same(64, 1 * k)});
  Case("batch 64 x 1K, 50 % streaming", {.contexts = Same(64, 1 * k), .streaming_share = 0.5});
  Case("batch 1 x 1K", {.contexts = Same(1, 1 * k)});
  Case("batch 16 x 16K, pages of 64", {.contexts = Same(16, 16 * k), .page_tokens = 64});
  Case("batch 16 x 16K, 16 q heads a kv head", {.contexts = Same(16, 16 * k), .heads = 128});
  Case("batch 16 x 16K, head_dim 96", {.contexts = Same(16, 16 * k), .head_dim = 96});
  Case("batch 16 x 16K, head_dim 64", {.contexts = Same(16, 16 * k), .heads = 64, .head_dim = 64});
}

}  // namespace
}  // namespace headgate

int main() { headgate::Run(); }
