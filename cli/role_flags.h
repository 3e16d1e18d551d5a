// The flags of the roles, each defined once: `headgate serve` takes them all and hands them on to
// the processes that it starts (ToArgs is the inverse of Add).
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

namespace headgate {

// The last folder of a path: "models/SmolLM2/" -> "SmolLM2". The default name of a model.
std::string FolderName(const std::string& path);

// What whoever opens a Prometheus page to others must know.
inline constexpr char kMetricsHelp[] =
    "Any address may be given: the page has no TLS and no login, and holds no user text";

struct LogFlags {
  std::string level = "info";

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
};

// What a worker loads and how it computes.
struct WorkerFlags {
  std::string model;              // folder in the Hugging Face layout
  std::string policy;             // DuoAttention pattern folder; empty = full attention
  double sparsity = -1.0;         // share of streaming heads; negative = the folder's threshold
  std::string weights = "auto";   // auto, as-stored, fp32, bf16, int8, int4
  std::string kv_dtype = "bf16";  // fp32, bf16
  int64_t page_tokens = 16;
  int64_t kv_pages = 0;        // per rank; 0 = what kv_memory_mib holds
  int64_t kv_memory_mib = -1;  // per rank; negative = 1024 on the CPU, 0 on a GPU
  int64_t step_tokens = 512;   // most tokens of one step; the scheduler's budget too
  int threads = 0;             // 0 = all cores, shared by the ranks of `serve`
  std::string isa = "auto";    // auto, avx2, avx512, amx
  std::string device = "cpu";  // cpu, cuda, cuda:<n>

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
};

struct SchedulerFlags {
  int64_t waiting_limit = 10'000;
  int64_t running_limit = 256;
  int64_t chunk_tokens = 512;
  double watchdog_s = 10.0;  // a step older than this ends its group

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
};

struct ServerFlags {
  std::string listen = "127.0.0.1:50051";  // host:port or unix:path
  std::string model_name;                  // empty = the model folder's name
  int64_t streams_limit = 1024;            // live requests of this server

  void Add(CLI::App& app);
  std::vector<std::string> ToArgs() const;
};

}  // namespace headgate
