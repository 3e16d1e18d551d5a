// Every tensor that a model's checkpoint must hold: the one table of names and shapes. Pure
// functions. Names: transformers' modeling_{llama,mistral,qwen2,qwen3}.py.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "base/model_shape.h"
#include "worker/format/checkpoint.h"

namespace headgate {

// Matrices are [outputs, inputs].
enum class WeightPart : uint8_t {
  kEmbedding,      // [vocab, hidden]
  kFinalNorm,      // [hidden]
  kHead,           // [vocab, hidden]; absent when tied
  kAttentionNorm,  // [hidden], before attention
  kQuery,          // [heads * head_dim, hidden]
  kQueryBias,
  kKey,  // [kv_heads * head_dim, hidden]
  kKeyBias,
  kValue,  // [kv_heads * head_dim, hidden]
  kValueBias,
  kQueryNorm,  // [head_dim]
  kKeyNorm,    // [head_dim]
  kOutput,     // [hidden, heads * head_dim]
  kOutputBias,
  kMlpNorm,  // [hidden], before the MLP
  kGate,     // [intermediate, hidden]
  kGateBias,
  kUp,  // [intermediate, hidden]
  kUpBias,
  kDown,  // [hidden, intermediate]
  kDownBias,
};

struct ExpectedTensor {
  WeightPart part = WeightPart::kEmbedding;
  int64_t layer = -1;  // -1: of the whole model
  std::string name;
  std::vector<int64_t> shape;
};

// The name of a part in the checkpoint. `layer` is ignored for the first three parts.
std::string WeightName(WeightPart part, int64_t layer = -1);

// In the order of the layers.
std::vector<ExpectedTensor> ExpectedTensors(const ModelShape& shape);

// All expected tensors are there with their shapes, in fp32, fp16 or bf16, and nothing else is that
// would change the model. The first mismatch: FAILED_PRECONDITION naming tensor and file.
absl::Status CheckWeights(const Checkpoint& checkpoint, const ModelShape& shape);

}  // namespace headgate
