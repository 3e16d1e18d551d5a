// The forward pass of the Llama family (Llama 2/3.x, Mistral, Qwen2, Qwen3, SmolLM2) over the ops
// of a Backend: pre-norm attention and gated MLP blocks (Touvron et al., "Llama 2", 2023), with the
// biases and head norms that a model's weights have. One step thread per rank owns it.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/model_shape.h"
#include "base/step.h"
#include "worker/backend.h"
#include "worker/model/shard.h"
#include "worker/model/weights.h"

namespace headgate {

class Transformer {
 public:
  // Allocates the activations of step_tokens_max rows once. `backend` must outlive the result.
  // RESOURCE_EXHAUSTED when they do not fit. On some devices it measures products first: up to a
  // second.
  static absl::StatusOr<std::unique_ptr<Transformer>> Create(const ModelShape& shape,
                                                             RankShard shard, ModelWeights weights,
                                                             int64_t step_tokens_max,
                                                             Backend& backend);

  // Runs all layers; writes the batch's keys and values to the backend's pages. The hidden states
  // stay inside for Logits. `batch` must live until the last Logits. REQUIRES: batch.rows() in
  // [1, step_tokens_max]. Errors: the collective's that the backend is connected to.
  absl::Status Forward(const Batch& batch);

  // This rank's part of the logits of the last batch's outputs [begin, begin + count): [count, own
  // vocabulary], valid until the next call. REQUIRES: begin is a multiple of logit_rows_max(), and
  // count at most that.
  Tensor Logits(int64_t begin, int64_t count);
  int64_t logit_rows_max() const { return logits_.rows; }

  // Where the time went since the last TakeTimes: attention, dense and collective are set.
  StepTimes TakeTimes();

 private:
  Transformer(const ModelShape& shape, RankShard shard, ModelWeights weights, Backend& backend);

  absl::Status Allocate(int64_t step_tokens_max);
  absl::Status PrepareProducts();
  Tensor Qkv(const LayerWeights& layer, int64_t rows) const;
  Tensor Attended(const LayerWeights& layer, int64_t rows) const;
  absl::Status Layers(int64_t rows);
  absl::Status LastLayer(int64_t rows);
  void Attend(int64_t layer, int64_t rows, Tensor attended);
  absl::Status AddBlocks(const LayerWeights& layer, Tensor attended, Tensor residual,
                         std::span<const float> next_norm);
  absl::Status AddToResidual(Tensor residual, std::span<const float> next_norm);
  void Multiply(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor out);

  const ModelShape shape_;
  const RankShard shard_;
  const ModelWeights weights_;
  Backend& backend_;
  StepTimes times_;

  // Activations, step_tokens_max rows each. Layers with fewer heads use fewer columns.
  Tensor residual_;  // [M, H]
  Tensor normed_;    // [M, H]
  Tensor delta_;     // [M, H]: this rank's part of what a block adds
  Tensor qkv_;
  Tensor attended_;
  Tensor gate_up_;
  Tensor hidden_;  // [M, I]

  // Of the last batch.
  int64_t outputs_ = 0;
  bool few_outputs_ = false;  // of many rows: `picked_` has them since the last attention

  // logit_rows_max() rows each.
  Tensor picked_;         // [rows, H]
  Tensor picked_normed_;  // [rows, H]
  Tensor logits_;         // [rows, own vocab]
};

}  // namespace headgate
