#include "worker/cuda/bench/sample_bench.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <random>
#include <vector>

#include "base/status_macros.h"
#include "worker/cuda/bench/graph_timer.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/sampling/sample.h"
#include "worker/sampling/penalties.h"

namespace headgate {
namespace {

template <typename T>
absl::StatusOr<CudaBuffer> OnDevice(const std::vector<T>& values) {
  const size_t bytes = values.size() * sizeof(T);
  ASSIGN_OR_RETURN(CudaBuffer buffer,
                   CudaBuffer::Create(MemoryPlace::kDevice, static_cast<int64_t>(bytes)));
  RETURN_IF_ERROR(
      CudaStatus(cudaMemcpy(buffer.data(), values.data(), bytes, cudaMemcpyHostToDevice), "copy"));
  return buffer;
}

std::vector<float> MakeLogits(const SampleBenchOptions& options) {
  constexpr int64_t kLikely = 30;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 2.0f);
  std::vector<float> logits(static_cast<size_t>(options.rows * options.vocab));
  for (float& logit : logits) logit = normal(random);
  for (int64_t row = 0; options.peaked && row < options.rows; ++row) {
    for (int64_t i = 0; i < kLikely; ++i) {
      const int64_t token = static_cast<int64_t>(random()) % options.vocab;
      logits[static_cast<size_t>(row * options.vocab + token)] =
          20.0f - 0.4f * static_cast<float>(i);
    }
  }
  return logits;
}

std::vector<SampleRow> MakeRows(const SampleBenchOptions& options) {
  std::vector<SampleRow> rows;
  for (int64_t i = 0; i < options.rows; ++i) {
    SampleRow row;
    row.sample = 1;
    row.place = static_cast<int32_t>(i);
    row.uniform = (static_cast<double>(i) + 0.5) / static_cast<double>(options.rows);
    row.scale = options.params.temperature > 0.0f ? 1.0f / options.params.temperature : 0.0f;
    row.top_k = options.params.top_k;
    row.top_p = options.params.top_p;
    row.min_p = options.params.min_p;
    row.penalised = TokenHistory::Needed(options.params) ? 1 : 0;
    row.repetition_penalty = options.params.repetition_penalty;
    row.presence_penalty = options.params.presence_penalty;
    row.frequency_penalty = options.params.frequency_penalty;
    row.top_logprobs = options.params.top_logprobs;
    rows.push_back(row);
  }
  return rows;
}

}  // namespace

absl::StatusOr<double> BenchSample(const SampleBenchOptions& options) {
  std::vector<uint16_t> said(static_cast<size_t>(options.rows * options.vocab), 0);
  for (int64_t i = 0; i < options.rows * options.vocab; i += 251) {
    if (i % options.vocab < 1000 * 251) said[static_cast<size_t>(i)] = i % 2 == 0 ? 1 : 0x8000;
  }
  ASSIGN_OR_RETURN(const CudaBuffer logits, OnDevice(MakeLogits(options)));
  ASSIGN_OR_RETURN(const CudaBuffer rows, OnDevice(MakeRows(options)));
  ASSIGN_OR_RETURN(const CudaBuffer counts, OnDevice(said));
  const auto count = static_cast<size_t>(options.rows);
  ASSIGN_OR_RETURN(const CudaBuffer tokens, OnDevice(std::vector<TokenId>(count, 0)));
  ASSIGN_OR_RETURN(const CudaBuffer outcomes, OnDevice(std::vector<SampleOutcome>(count)));
  SampleCall call;
  call.logits = logits.as<const float>();
  call.rows = rows.as<const SampleRow>();
  call.counts = counts.as<const uint16_t>();
  call.last_tokens = tokens.as<TokenId>();
  call.outcomes = outcomes.as<SampleOutcome>();
  call.vocab = options.vocab;
  call.count = static_cast<int32_t>(options.rows);
  LaunchSample(call, nullptr);  // loads the kernel
  RETURN_IF_ERROR(CudaStatus(cudaDeviceSynchronize(), "sampling"));
  // Several in a row: a graph's own start is no part of a launch's time.
  constexpr int kLaunches = 8;
  const auto work = [&](cudaStream_t stream) {
    for (int i = 0; i < kLaunches; ++i) LaunchSample(call, stream);
  };
  ASSIGN_OR_RETURN(const double total_us, MedianReplayUs(work, options.runs));
  return total_us / kLaunches;
}

}  // namespace headgate
