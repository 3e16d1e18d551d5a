#include "worker/model/named_shape.h"

#include <array>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace headgate {
namespace {

struct Entry {
  std::string_view name;
  ModelShape shape;
};

// Not what the models were trained for: only time and memory are measured. Above the longest prompt
// that a scheduler takes (2^20).
constexpr int64_t kPositions = int64_t{1} << 21;

std::array<Entry, 4> Entries() {
  ModelShape llama3{.architecture = "LlamaForCausalLM",
                    .layers = 32,
                    .hidden = 4096,
                    .intermediate = 14336,
                    .heads = 32,
                    .kv_heads = 8,
                    .head_dim = 128,
                    .vocab = 128256,
                    .max_positions = kPositions,
                    .rope = {},
                    .eos = {}};
  llama3.rope.theta = 500000.0;
  const ModelShape llama2{.architecture = "LlamaForCausalLM",
                          .layers = 32,
                          .hidden = 4096,
                          .intermediate = 11008,
                          .heads = 32,
                          .kv_heads = 32,
                          .head_dim = 128,
                          .vocab = 32000,
                          .max_positions = kPositions,
                          .rope = {},
                          .eos = {}};
  ModelShape smollm2{.architecture = "LlamaForCausalLM",
                     .layers = 30,
                     .hidden = 576,
                     .intermediate = 1536,
                     .heads = 9,
                     .kv_heads = 3,
                     .head_dim = 64,
                     .vocab = 49152,
                     .max_positions = kPositions,
                     .rope = {},
                     .eos = {}};
  smollm2.tied_embeddings = true;
  ModelShape stories{.architecture = "LlamaForCausalLM",
                     .layers = 5,
                     .hidden = 64,
                     .intermediate = 172,
                     .heads = 8,
                     .kv_heads = 4,
                     .head_dim = 8,
                     .vocab = 512,
                     .max_positions = kPositions,
                     .rope = {},
                     .eos = {}};
  stories.tied_embeddings = true;
  return {{{"llama3-8b", llama3},
           {"llama2-7b", llama2},
           {"smollm2-135m", smollm2},
           {"stories260k", stories}}};
}

}  // namespace

std::vector<std::string> ShapeNames() {
  std::vector<std::string> names;
  for (const Entry& entry : Entries()) names.emplace_back(entry.name);
  return names;
}

absl::StatusOr<ModelShape> NamedShape(std::string_view name) {
  for (const Entry& entry : Entries()) {
    if (entry.name == name) return entry.shape;
  }
  return absl::InvalidArgumentError(absl::StrCat("shape '", std::string(name), "' is none of ",
                                                 absl::StrJoin(ShapeNames(), ", ")));
}

}  // namespace headgate
