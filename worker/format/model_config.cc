#include "worker/format/model_config.h"

#include <algorithm>
#include <iterator>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/stored_file.h"
#include "base/strict_json.h"
#include "worker/format/config_values.h"
#include "worker/format/rope_config.h"

namespace headgate {
namespace {

constexpr uint64_t kConfigBytesMax = 1 << 20;
constexpr int kConfigDepthMax = 16;

enum class Family { kLlama, kMistral, kQwen2, kQwen3 };

struct FamilyName {
  Family family;
  const char* architecture;
  const char* model_type;
};

constexpr FamilyName kFamilies[] = {
    {Family::kLlama, "LlamaForCausalLM", "llama"},
    {Family::kMistral, "MistralForCausalLM", "mistral"},
    {Family::kQwen2, "Qwen2ForCausalLM", "qwen2"},
    {Family::kQwen3, "Qwen3ForCausalLM", "qwen3"},
};

absl::StatusOr<FamilyName> ReadFamily(const ConfigValues& config) {
  ASSIGN_OR_RETURN(const std::vector<std::string> architectures, config.Texts("architectures"));
  if (architectures.size() != 1) {
    return config.Invalid("architectures", "must name exactly one architecture");
  }
  const auto* found =
      std::find_if(std::begin(kFamilies), std::end(kFamilies),
                   [&](const FamilyName& name) { return name.architecture == architectures[0]; });
  if (found == std::end(kFamilies)) {
    return config.Unsupported("architectures",
                              absl::StrCat("names ", architectures[0],
                                           ", which is not supported (supported: LlamaForCausalLM, "
                                           "MistralForCausalLM, Qwen2ForCausalLM, "
                                           "Qwen3ForCausalLM)"));
  }
  ASSIGN_OR_RETURN(const std::string type, config.Text("model_type", found->model_type));
  if (type != found->model_type) {
    return config.Unsupported("model_type", absl::StrCat("is ", type, ", which does not belong to ",
                                                         found->architecture));
  }
  return *found;
}

// What changes the computation in a way that no backend has.
absl::Status RefuseUnknownOptions(const ConfigValues& config) {
  ASSIGN_OR_RETURN(const std::string activation, config.Text("hidden_act", "silu"));
  if (activation != "silu") {
    return config.Unsupported("hidden_act",
                              absl::StrCat("is ", activation, "; only silu is supported"));
  }
  if (config.Has("quantization_config")) {
    return config.Unsupported("quantization_config",
                              "is set; only fp32, fp16 and bf16 weights are supported");
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const ConfigValues& config, Family family, ModelShape& shape) {
  ASSIGN_OR_RETURN(shape.layers, config.Integer("num_hidden_layers", 1, kLayersMax));
  ASSIGN_OR_RETURN(shape.hidden, config.Integer("hidden_size", 1, kHiddenMax));
  ASSIGN_OR_RETURN(shape.intermediate, config.Integer("intermediate_size", 1, kIntermediateMax));
  ASSIGN_OR_RETURN(shape.vocab, config.Integer("vocab_size", 1, kVocabMax));
  ASSIGN_OR_RETURN(shape.max_positions,
                   config.Integer("max_position_embeddings", 1, kPositionsMax));
  ASSIGN_OR_RETURN(shape.rms_norm_eps, config.Number("rms_norm_eps", 1e-12, 0.1));
  ASSIGN_OR_RETURN(shape.heads, config.Integer("num_attention_heads", 1, kHeadsMax));
  ASSIGN_OR_RETURN(shape.kv_heads,
                   config.Integer("num_key_value_heads", 1, shape.heads, shape.heads));
  if (shape.heads % shape.kv_heads != 0) {
    return config.Invalid("num_attention_heads",
                          absl::StrCat("is ", shape.heads, ", not a multiple of the ",
                                       shape.kv_heads, " of num_key_value_heads"));
  }
  if (config.Has("head_dim")) {
    ASSIGN_OR_RETURN(shape.head_dim, config.Integer("head_dim", 2, kHeadDimMax));
  } else if (family == Family::kQwen3 || shape.hidden % shape.heads != 0) {
    return config.Invalid("head_dim", "is missing, and does not follow from hidden_size");
  } else {
    shape.head_dim = shape.hidden / shape.heads;
  }
  if (shape.head_dim % 2 != 0 || shape.head_dim > kHeadDimMax) {
    return config.Invalid("head_dim", absl::StrCat("is ", shape.head_dim,
                                                   ", it must be even and at most ", kHeadDimMax));
  }
  return absl::OkStatus();
}

absl::Status ReadBiases(const ConfigValues& config, Family family, ModelShape& shape) {
  ASSIGN_OR_RETURN(shape.tied_embeddings, config.Boolean("tie_word_embeddings", false));
  shape.qk_norm = family == Family::kQwen3;
  shape.qkv_bias = family == Family::kQwen2;
  if (family == Family::kLlama || family == Family::kQwen3) {
    ASSIGN_OR_RETURN(shape.qkv_bias, config.Boolean("attention_bias", false));
    shape.output_bias = shape.qkv_bias;
  }
  if (family == Family::kLlama) {
    ASSIGN_OR_RETURN(shape.mlp_bias, config.Boolean("mlp_bias", false));
  }
  return absl::OkStatus();
}

// Do all layers use the window (true), or none (false)? Refuses a mixture.
absl::StatusOr<bool> AllLayersSlide(const ConfigValues& config, Family family, int64_t layers) {
  if (config.Has("layer_types")) {
    ASSIGN_OR_RETURN(const std::vector<std::string> types, config.Texts("layer_types"));
    const bool slide = !types.empty() && types[0] == "sliding_attention";
    const std::string_view wanted = slide ? "sliding_attention" : "full_attention";
    for (const std::string& type : types) {
      if (type != wanted) {
        return config.Unsupported("layer_types",
                                  "is not full_attention or sliding_attention "
                                  "throughout");
      }
    }
    return slide;
  }
  if (family == Family::kMistral) return true;
  if (family == Family::kLlama) return false;
  ASSIGN_OR_RETURN(const bool use, config.Boolean("use_sliding_window", false));
  if (!use) return false;
  // Qwen: layers from max_window_layers on use the window (transformers, Qwen2Config).
  ASSIGN_OR_RETURN(const int64_t first, config.Integer("max_window_layers", 0, kLayersMax, 0));
  if (first >= layers) return false;
  if (first > 0) {
    return config.Unsupported("max_window_layers", "gives a window to some layers only");
  }
  return true;
}

absl::Status ReadWindow(const ConfigValues& config, Family family, ModelShape& shape) {
  ASSIGN_OR_RETURN(const bool slide, AllLayersSlide(config, family, shape.layers));
  if (!slide) return absl::OkStatus();
  ASSIGN_OR_RETURN(shape.sliding_window, config.Integer("sliding_window", 1, kPositionsMax, 0));
  return absl::OkStatus();
}

absl::Status ReadTokenIds(const ConfigValues& config, ModelShape& shape) {
  ASSIGN_OR_RETURN(const std::vector<TokenId> bos, config.TokenIds("bos_token_id", shape.vocab));
  if (!bos.empty()) shape.bos = bos[0];
  ASSIGN_OR_RETURN(shape.eos, config.TokenIds("eos_token_id", shape.vocab));
  return absl::OkStatus();
}

absl::StatusOr<nlohmann::json> ReadObject(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kConfigBytesMax));
  ASSIGN_OR_RETURN(nlohmann::json object, ParseStrictJson(text, path, kConfigDepthMax));
  if (!object.is_object()) return absl::DataLossError(absl::StrCat(path, ": is not a JSON object"));
  return object;
}

// generation_config.json may be absent; its ends of text win over config.json's.
absl::Status ReadGenerationConfig(const std::string& path, ModelShape& shape) {
  const absl::StatusOr<nlohmann::json> object = ReadObject(path);
  if (absl::IsNotFound(object.status())) return absl::OkStatus();
  if (!object.ok()) return object.status();
  const ConfigValues config(*object, path);
  if (!config.Has("eos_token_id")) return absl::OkStatus();
  ASSIGN_OR_RETURN(shape.eos, config.TokenIds("eos_token_id", shape.vocab));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelShape> ReadModelConfig(const std::string& model_dir) {
  const std::string path = absl::StrCat(model_dir, "/config.json");
  ASSIGN_OR_RETURN(const nlohmann::json object, ReadObject(path));
  const ConfigValues config(object, path);
  ASSIGN_OR_RETURN(const FamilyName family, ReadFamily(config));
  RETURN_IF_ERROR(RefuseUnknownOptions(config));
  ModelShape shape;
  shape.architecture = family.architecture;
  RETURN_IF_ERROR(ReadSizes(config, family.family, shape));
  RETURN_IF_ERROR(ReadBiases(config, family.family, shape));
  ASSIGN_OR_RETURN(shape.rope, ReadRopeParams(config));
  RETURN_IF_ERROR(ReadWindow(config, family.family, shape));
  RETURN_IF_ERROR(ReadTokenIds(config, shape));
  RETURN_IF_ERROR(ReadGenerationConfig(absl::StrCat(model_dir, "/generation_config.json"), shape));
  return shape;
}

}  // namespace headgate
