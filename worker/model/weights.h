// One rank's weights in device form, as the transformer uses them. Owned by the worker; the spans
// live in the backend.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "worker/backend.h"

namespace headgate {

// D = head_dim, kv = this rank's kv heads of the layer, G = query heads per kv head, I = this
// rank's share of the intermediate columns. Empty spans: the model has no such vector.
struct LayerWeights {
  int64_t kv_heads = 0;
  std::span<const float> attention_norm;  // [H]
  std::unique_ptr<PackedMatrix> qkv;      // [(G kv + 2 kv) D, H]: queries, keys, values
  std::span<const float> qkv_bias;
  std::span<const float> q_norm;          // [D]
  std::span<const float> k_norm;          // [D]
  std::unique_ptr<PackedMatrix> output;   // [H, G kv D]
  std::span<const float> output_bias;     // [H], on rank 0 only: the ranks' parts are summed
  std::span<const float> mlp_norm;        // [H]
  std::unique_ptr<PackedMatrix> gate_up;  // [2 I, H]: gate rows first
  std::span<const float> gate_up_bias;
  std::unique_ptr<PackedMatrix> down;  // [H, I]
  std::span<const float> down_bias;    // [H], on rank 0 only
};

struct ModelWeights {
  std::unique_ptr<PackedMatrix> embedding;  // [vocab, H], whole on every rank
  std::unique_ptr<PackedMatrix> head;       // [this rank's vocab rows, H]; null = the embedding
  std::span<const float> final_norm;        // [H]
  std::span<const float> inv_freq;          // [D / 2]
  std::vector<LayerWeights> layers;

  const PackedMatrix& output_head() const { return head != nullptr ? *head : *embedding; }

  // What a decode step reads whole: all matrices but an embedding that is not the head too.
  int64_t step_bytes() const {
    int64_t bytes = output_head().bytes();
    for (const LayerWeights& layer : layers) {
      bytes +=
          layer.qkv->bytes() + layer.output->bytes() + layer.gate_up->bytes() + layer.down->bytes();
    }
    return bytes;
  }
};

}  // namespace headgate
