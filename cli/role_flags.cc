#include "cli/role_flags.h"

#include <filesystem>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status_macros.h"
#include "worker/model/named_shape.h"

namespace headgate {

void LogFlags::Add(CLI::App& app) {
  app.add_option("--log-level", level, "trace, debug, info, warn, error or off")
      ->capture_default_str();
}

std::vector<std::string> LogFlags::ToArgs() const { return {absl::StrCat("--log-level=", level)}; }

void ModelFlags::Add(CLI::App& app) {
  CLI::Option* folder = app.add_option(
      "--model", model, "model folder (Hugging Face layout: config.json, *.safetensors)");
  app.add_option("--shape", shape,
                 absl::StrCat("instead of --model, for measurements: random weights of this shape "
                              "(",
                              absl::StrJoin(ShapeNames(), ", "),
                              "); no files, prompts as token ids, answers without meaning"))
      ->excludes(folder);
}

std::vector<std::string> ModelFlags::ToArgs() const {
  return {shape.empty() ? absl::StrCat("--model=", model) : absl::StrCat("--shape=", shape)};
}

absl::StatusOr<ModelSource> ModelFlags::Source() const {
  if (!shape.empty()) {
    RETURN_IF_ERROR(NamedShape(shape).status());
    return RandomModel{shape};
  }
  if (model.empty()) {
    return absl::InvalidArgumentError(
        "no model: give --model FOLDER, or --shape NAME for random weights");
  }
  if (!std::filesystem::is_directory(model)) {
    return absl::NotFoundError(absl::StrCat("--model ", model,
                                            ": no such folder; give one in the Hugging Face "
                                            "layout, or convert a GGUF with tools/convert_gguf"));
  }
  return ModelFolder{model};
}

void WorkerFlags::Add(CLI::App& app) {
  model.Add(app);
  app.add_option("--policy", policy,
                 "DuoAttention pattern folder (full_attention_heads.tsv, config.json); "
                 "default: every head keeps everything");
  app.add_option("--sparsity", sparsity, "with --policy: share of streaming heads, 0 to 1")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--weights", weights,
                 "weight format: auto (what the model folder asks for), as-stored, fp32, bf16, "
                 "int8 or int4")
      ->check(CLI::IsMember({"auto", "as-stored", "fp32", "bf16", "int8", "int4"}))
      ->capture_default_str();
  app.add_option("--kv-dtype", kv_dtype, "number format of KV pages: fp32 or bf16")
      ->check(CLI::IsMember({"fp32", "bf16"}))
      ->capture_default_str();
  app.add_option("--page-tokens", page_tokens, "positions in a page; a power of two")
      ->check(CLI::Range(1, 1024))
      ->capture_default_str();
  app.add_option("--kv-pages", kv_pages, "KV pages per rank; 0: as many as --kv-memory-mib holds")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30))
      ->capture_default_str();
  app.add_option(
         "--kv-memory-mib", kv_memory_mib,
         "memory for KV pages per rank, MiB; 0: what the device can spare (a quarter of the "
         "machine's free memory, shared by the ranks, or all but 4 GiB of a GPU's) "
         "[1024 on the CPU, 0 on a GPU]")
      ->check(CLI::Range(int64_t{-1}, int64_t{1} << 24));
  app.add_option("--step-tokens", step_tokens,
                 absl::StrCat("most tokens of one step [", StepTokensOn("cpu"), " on the CPU, ",
                              StepTokensOn("cuda"), " on a GPU]"))
      ->check(CLI::Range(1, 1 << 16));
  app.add_option("--threads", threads, "CPU threads per rank; 0: all cores, shared by the ranks")
      ->check(CLI::Range(0, 1024))
      ->capture_default_str();
  app.add_option("--device", device,
                 "where to compute: cpu, cuda (rank n on GPU n) or cuda:<number>")
      ->capture_default_str();
  app.add_option("--isa", isa, "highest instruction set to use: auto, avx2, avx512 or amx")
      ->check(CLI::IsMember({"auto", "avx2", "avx512", "amx"}))
      ->capture_default_str();
}

std::vector<std::string> WorkerFlags::ToArgs() const {
  std::vector<std::string> args = model.ToArgs();
  const std::vector<std::string> more = {
      absl::StrCat("--weights=", weights),
      absl::StrCat("--kv-dtype=", kv_dtype),
      absl::StrCat("--page-tokens=", page_tokens),
      absl::StrCat("--kv-pages=", kv_pages),
      absl::StrCat("--kv-memory-mib=", kv_memory_mib),
      absl::StrCat("--step-tokens=", StepTokens()),
      absl::StrCat("--threads=", threads),
      absl::StrCat("--isa=", isa),
      absl::StrCat("--device=", device),
  };
  args.insert(args.end(), more.begin(), more.end());
  if (!policy.empty()) args.push_back(absl::StrCat("--policy=", policy));
  if (sparsity >= 0) args.push_back(absl::StrCat("--sparsity=", sparsity));
  return args;
}

void SchedulerFlags::Add(CLI::App& app) {
  app.add_option("--waiting-limit", waiting_limit, "most requests that may wait")
      ->check(CLI::Range(1, 10'000'000))
      ->capture_default_str();
  app.add_option(
         "--running-limit", running_limit,
         "most sequences that run at once, per group; never more than a rank can hold (on a "
         "GPU 1024) or a step takes tokens")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  app.add_option("--chunk-tokens", chunk_tokens,
                 "most prompt tokens of one sequence in one step; 0: as many as the step takes")
      ->check(CLI::Range(0, 1 << 20))
      ->capture_default_str();
  app.add_option("--watchdog-s", watchdog_s, "a step older than this (seconds) ends its group")
      ->check(CLI::Range(0.1, 3600.0))
      ->capture_default_str();
}

std::vector<std::string> SchedulerFlags::ToArgs() const {
  return {
      absl::StrCat("--waiting-limit=", waiting_limit),
      absl::StrCat("--running-limit=", running_limit),
      absl::StrCat("--chunk-tokens=", chunk_tokens),
      absl::StrCat("--watchdog-s=", watchdog_s),
  };
}

void ServerFlags::Add(CLI::App& app) {
  app.add_option("--listen", listen, "where clients connect: host:port or unix:path")
      ->capture_default_str();
  app.add_option("--model-name", model_name,
                 "name of the model for clients; default: its folder's or shape's");
  app.add_option("--streams-limit", streams_limit, "most live requests of one server")
      ->check(CLI::Range(1, 1'000'000))
      ->capture_default_str();
}

std::vector<std::string> ServerFlags::ToArgs() const {
  std::vector<std::string> args = {absl::StrCat("--listen=", listen),
                                   absl::StrCat("--streams-limit=", streams_limit)};
  if (!model_name.empty()) args.push_back(absl::StrCat("--model-name=", model_name));
  return args;
}

}  // namespace headgate
