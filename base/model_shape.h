// The numbers of a Llama-family model that more than one folder needs. Read once from config.json
// by worker/format/model_config.h; source of each field: the Hugging Face key in its comment.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/ids.h"

namespace headgate {

enum class RopeKind : uint8_t { kDefault, kLinear, kLlama3 };

// Rotary embedding (Su et al., 2021); llama3 scaling as in transformers' modeling_rope_utils.
struct RopeParams {
  RopeKind kind = RopeKind::kDefault;  // rope_type, or the older `type`
  double theta = 10000.0;              // rope_theta
  double factor = 1.0;                 // factor
  double low_freq_factor = 1.0;        // llama3
  double high_freq_factor = 4.0;       // llama3
  int64_t original_max_positions = 0;  // llama3: original_max_position_embeddings
};

struct ModelShape {
  std::string architecture;    // architectures[0]
  int64_t layers = 0;          // num_hidden_layers
  int64_t hidden = 0;          // hidden_size
  int64_t intermediate = 0;    // intermediate_size
  int64_t heads = 0;           // num_attention_heads
  int64_t kv_heads = 0;        // num_key_value_heads
  int64_t head_dim = 0;        // head_dim, or hidden / heads
  int64_t vocab = 0;           // vocab_size
  int64_t max_positions = 0;   // max_position_embeddings
  double rms_norm_eps = 1e-5;  // rms_norm_eps
  RopeParams rope;
  bool tied_embeddings = false;  // tie_word_embeddings
  bool qkv_bias = false;         // qwen2: always; llama: attention_bias
  bool output_bias = false;      // llama: attention_bias (o_proj)
  bool mlp_bias = false;         // mlp_bias
  bool qk_norm = false;          // qwen3: RMS norm over head_dim on q and k before rope
  int64_t sliding_window = 0;    // 0 = none; mistral, and qwen2 when use_sliding_window
  TokenId bos = -1;              // bos_token_id; -1 = none
  std::vector<TokenId> eos;      // eos_token_id: one or a list; generation_config.json's win

  int64_t group_size() const { return heads / kv_heads; }  // query heads per kv head
};

}  // namespace headgate
