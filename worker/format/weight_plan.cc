#include "worker/format/weight_plan.h"

#include <string_view>
#include <unordered_set>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace headgate {
namespace {

// Name of a part below "model.layers.N.", or the whole name of the first three.
const char* PartName(WeightPart part) {
  switch (part) {
    case WeightPart::kEmbedding:
      return "model.embed_tokens.weight";
    case WeightPart::kFinalNorm:
      return "model.norm.weight";
    case WeightPart::kHead:
      return "lm_head.weight";
    case WeightPart::kAttentionNorm:
      return "input_layernorm.weight";
    case WeightPart::kQuery:
      return "self_attn.q_proj.weight";
    case WeightPart::kQueryBias:
      return "self_attn.q_proj.bias";
    case WeightPart::kKey:
      return "self_attn.k_proj.weight";
    case WeightPart::kKeyBias:
      return "self_attn.k_proj.bias";
    case WeightPart::kValue:
      return "self_attn.v_proj.weight";
    case WeightPart::kValueBias:
      return "self_attn.v_proj.bias";
    case WeightPart::kQueryNorm:
      return "self_attn.q_norm.weight";
    case WeightPart::kKeyNorm:
      return "self_attn.k_norm.weight";
    case WeightPart::kOutput:
      return "self_attn.o_proj.weight";
    case WeightPart::kOutputBias:
      return "self_attn.o_proj.bias";
    case WeightPart::kMlpNorm:
      return "post_attention_layernorm.weight";
    case WeightPart::kGate:
      return "mlp.gate_proj.weight";
    case WeightPart::kGateBias:
      return "mlp.gate_proj.bias";
    case WeightPart::kUp:
      return "mlp.up_proj.weight";
    case WeightPart::kUpBias:
      return "mlp.up_proj.bias";
    case WeightPart::kDown:
      return "mlp.down_proj.weight";
    case WeightPart::kDownBias:
      return "mlp.down_proj.bias";
  }
  return "";
}

bool IsOfWholeModel(WeightPart part) {
  return part == WeightPart::kEmbedding || part == WeightPart::kFinalNorm ||
         part == WeightPart::kHead;
}

class Plan {
 public:
  void Add(WeightPart part, int64_t layer, std::vector<int64_t> shape) {
    tensors_.push_back({part, layer, WeightName(part, layer), std::move(shape)});
  }
  void AddLinear(WeightPart weight, WeightPart bias, bool has_bias, int64_t layer, int64_t outputs,
                 int64_t inputs) {
    Add(weight, layer, {outputs, inputs});
    if (has_bias) Add(bias, layer, {outputs});
  }
  std::vector<ExpectedTensor> Take() { return std::move(tensors_); }

 private:
  std::vector<ExpectedTensor> tensors_;
};

void AddLayer(const ModelShape& s, int64_t layer, Plan& plan) {
  using P = WeightPart;
  const int64_t q = s.heads * s.head_dim;
  const int64_t kv = s.kv_heads * s.head_dim;
  plan.Add(P::kAttentionNorm, layer, {s.hidden});
  plan.AddLinear(P::kQuery, P::kQueryBias, s.qkv_bias, layer, q, s.hidden);
  plan.AddLinear(P::kKey, P::kKeyBias, s.qkv_bias, layer, kv, s.hidden);
  plan.AddLinear(P::kValue, P::kValueBias, s.qkv_bias, layer, kv, s.hidden);
  if (s.qk_norm) {
    plan.Add(P::kQueryNorm, layer, {s.head_dim});
    plan.Add(P::kKeyNorm, layer, {s.head_dim});
  }
  plan.AddLinear(P::kOutput, P::kOutputBias, s.output_bias, layer, s.hidden, q);
  plan.Add(P::kMlpNorm, layer, {s.hidden});
  plan.AddLinear(P::kGate, P::kGateBias, s.mlp_bias, layer, s.intermediate, s.hidden);
  plan.AddLinear(P::kUp, P::kUpBias, s.mlp_bias, layer, s.intermediate, s.hidden);
  plan.AddLinear(P::kDown, P::kDownBias, s.mlp_bias, layer, s.hidden, s.intermediate);
}

// Tensors that some checkpoints hold and that say nothing new: rotary tables of old Llama files,
// and the output head of a tied model, which transformers ignores too.
bool IsRedundant(std::string_view name, const ModelShape& shape) {
  return name.ends_with(".rotary_emb.inv_freq") ||
         (shape.tied_embeddings && name == PartName(WeightPart::kHead));
}

}  // namespace

std::string WeightName(WeightPart part, int64_t layer) {
  if (IsOfWholeModel(part)) return PartName(part);
  CHECK_GE(layer, 0) << PartName(part) << " belongs to a layer";
  return absl::StrCat("model.layers.", layer, ".", PartName(part));
}

std::vector<ExpectedTensor> ExpectedTensors(const ModelShape& shape) {
  Plan plan;
  plan.Add(WeightPart::kEmbedding, -1, {shape.vocab, shape.hidden});
  for (int64_t layer = 0; layer < shape.layers; ++layer) AddLayer(shape, layer, plan);
  plan.Add(WeightPart::kFinalNorm, -1, {shape.hidden});
  if (!shape.tied_embeddings) plan.Add(WeightPart::kHead, -1, {shape.vocab, shape.hidden});
  return plan.Take();
}

absl::Status CheckWeights(const Checkpoint& checkpoint, const ModelShape& shape) {
  std::unordered_set<std::string> known;
  for (const ExpectedTensor& wanted : ExpectedTensors(shape)) {
    const TensorInfo* info = checkpoint.Find(wanted.name);
    if (info == nullptr) {
      return absl::FailedPreconditionError(absl::StrCat(checkpoint.model_dir(), " lacks tensor ",
                                                        wanted.name, " ", ShapeString(wanted.shape),
                                                        ", which its config.json asks for"));
    }
    const std::string where = absl::StrCat(checkpoint.FileOf(wanted.name), ": tensor ", wanted.name,
                                           " at byte ", info->file_offset);
    if (info->shape != wanted.shape) {
      return absl::FailedPreconditionError(
          absl::StrCat(where, " has shape ", ShapeString(info->shape), ", config.json asks for ",
                       ShapeString(wanted.shape)));
    }
    if (!info->dtype.has_value()) {
      return absl::FailedPreconditionError(
          absl::StrCat(where, " is ", info->stored_type, "; weights must be F32, F16 or BF16"));
    }
    known.insert(wanted.name);
  }
  for (const std::string& name : checkpoint.Names()) {
    if (!known.contains(name) && !IsRedundant(name, shape)) {
      return absl::FailedPreconditionError(
          absl::StrCat(checkpoint.FileOf(name), ": tensor ", absl::CHexEscape(name),
                       " has no place in a ", shape.architecture, " of this config.json"));
    }
  }
  return absl::OkStatus();
}

}  // namespace headgate
