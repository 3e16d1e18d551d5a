// The flags of the roles, each defined once: `headgate serve` takes them all and hands them on to
// the processes that it starts (ToArgs is the inverse of Add).
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/model/model_source.h"

namespace headgate {

// Tokens of a step where the operator says nothing: enough to keep the device busy.
inline int64_t StepTokensOn(const std::string& device) { return device == "cpu" ? 512 : 8192; }

// Bytes for KV pages of a rank where the operator says nothing; 0 = what the device can spare.
inline int64_t PageMemoryOn(const std::string& device) {
  return device == "cpu" ? int64_t{1} << 30 : 0;
}

// What whoever opens a Prometheus page to others must know.
inline constexpr char kMetricsHelp[] =
    "Any address may be given: the page has no TLS and no login, and holds no user text";

struct LogFlags {
  std::string level = "info";

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
};

// Which model is served: a folder, or a shape with random weights.
struct ModelFlags {
  std::string model;  // folder in the Hugging Face layout
  std::string shape;  // of worker/model/named_shape.h

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
  // INVALID_ARGUMENT unless one of the two is given, for an unknown shape; NOT_FOUND without the
  // folder.
  absl::StatusOr<ModelSource> Source() const;
};

// What a worker loads and how it computes.
struct WorkerFlags {
  ModelFlags model;
  std::string policy;             // DuoAttention pattern folder; empty = full attention
  double sparsity = -1.0;         // share of streaming heads; negative = the folder's threshold
  std::string weights = "auto";   // auto, as-stored, fp32, bf16, int8, int4
  std::string kv_dtype = "bf16";  // fp32, bf16
  int64_t page_tokens = 16;
  int64_t kv_pages = 0;        // per rank; 0 = what kv_memory_mib holds
  int64_t kv_memory_mib = -1;  // per rank; negative = 1024 on the CPU, 0 on a GPU
  int64_t step_tokens = 0;   // most tokens of one step, the scheduler's budget too; 0 = StepTokens
  int threads = 0;           // 0 = all cores, shared by the ranks of `serve`
  std::string isa = "auto";  // auto, avx2, avx512, amx
  std::string device = "cpu";  // cpu, cuda, cuda:<n>

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
  int64_t StepTokens() const { return step_tokens > 0 ? step_tokens : StepTokensOn(device); }
};

struct SchedulerFlags {
  int64_t waiting_limit = 10'000;
  int64_t running_limit = 512;
  int64_t chunk_tokens = 0;  // 0 = as many as a step has
  double watchdog_s = 10.0;  // a step older than this ends its group

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
};

struct ServerFlags {
  std::string listen = "127.0.0.1:50051";  // host:port or unix:path
  std::string model_name;                  // empty = the model folder's or shape's name
  int64_t streams_limit = 1024;            // live requests of this server

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
};

}  // namespace headgate
