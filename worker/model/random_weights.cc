#include "worker/model/random_weights.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "worker/format/rope.h"

namespace headgate {
namespace {

constexpr size_t kTile = size_t{1} << 20;  // values drawn; larger matrices repeat them
constexpr float kSpread = 0.02f;           // Llama's initializer_range

class Maker {
 public:
  Maker(uint64_t seed, WeightFormat format, Backend& backend)
      : format_(format), backend_(backend), tile_(kTile) {
    std::mt19937_64 random(seed);
    std::normal_distribution<float> normal(0.0f, kSpread);
    for (uint16_t& value : tile_) {
      const float drawn = normal(random);
      uint32_t bits = 0;
      std::memcpy(&bits, &drawn, sizeof(bits));
      value = static_cast<uint16_t>(bits >> 16);  // bf16, towards zero
    }
  }

  absl::StatusOr<std::unique_ptr<PackedMatrix>> Matrix(int64_t rows, int64_t cols) {
    const auto count = static_cast<size_t>(rows * cols);
    while (values_.size() < count) {
      const size_t more = std::min(tile_.size(), count - values_.size());
      values_.insert(values_.end(), tile_.begin(),
                     tile_.begin() + static_cast<std::ptrdiff_t>(more));
    }
    const HostMatrix matrix{reinterpret_cast<const std::byte*>(values_.data()), DType::kBF16, rows,
                            cols, cols};
    ASSIGN_OR_RETURN(std::unique_ptr<PackedMatrix> packed, backend_.Pack(matrix, format_));
    bytes_ += packed->bytes();
    return packed;
  }

  absl::StatusOr<std::span<const float>> Ones(int64_t count) {
    return backend_.Upload(std::vector<float>(static_cast<size_t>(count), 1.0f));
  }

  int64_t bytes() const { return bytes_; }

 private:
  const WeightFormat format_;
  Backend& backend_;
  std::vector<uint16_t> tile_;
  std::vector<uint16_t> values_;
  int64_t bytes_ = 0;
};

}  // namespace

absl::StatusOr<RandomWeights> MakeRandomWeights(const ModelShape& shape, const RankShard& shard,
                                                uint64_t seed, WeightFormat format,
                                                Backend& backend) {
  Maker maker(seed, format, backend);
  RandomWeights made;
  ModelWeights& weights = made.weights;
  ASSIGN_OR_RETURN(weights.embedding, maker.Matrix(shape.vocab, shape.hidden));
  const bool own_head = !shape.tied_embeddings || shard.ranks > 1;
  made.read_bytes = own_head ? -maker.bytes() : 0;
  if (own_head) {
    ASSIGN_OR_RETURN(weights.head, maker.Matrix(shard.own_vocab().size(), shape.hidden));
  }
  ASSIGN_OR_RETURN(weights.final_norm, maker.Ones(shape.hidden));
  ASSIGN_OR_RETURN(weights.inv_freq, backend.Upload(RopeFrequencies(shape.rope, shape.head_dim)));
  const int64_t inner = shard.intermediate.size();
  for (const std::vector<int64_t>& kv_heads : shard.kv_heads) {
    LayerWeights& layer = weights.layers.emplace_back();
    layer.kv_heads = static_cast<int64_t>(kv_heads.size());
    const int64_t queries = layer.kv_heads * shape.group_size() * shape.head_dim;
    const int64_t keys = layer.kv_heads * shape.head_dim;
    ASSIGN_OR_RETURN(layer.attention_norm, maker.Ones(shape.hidden));
    ASSIGN_OR_RETURN(layer.qkv, maker.Matrix(queries + 2 * keys, shape.hidden));
    ASSIGN_OR_RETURN(layer.output, maker.Matrix(shape.hidden, queries));
    ASSIGN_OR_RETURN(layer.mlp_norm, maker.Ones(shape.hidden));
    ASSIGN_OR_RETURN(layer.gate_up, maker.Matrix(2 * inner, shape.hidden));
    ASSIGN_OR_RETURN(layer.down, maker.Matrix(shape.hidden, inner));
  }
  made.bytes = maker.bytes();
  made.read_bytes += made.bytes;
  return made;
}

}  // namespace headgate
