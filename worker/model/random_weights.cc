#include "worker/model/random_weights.h"

#include <algorithm>
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

std::vector<uint16_t> DrawTile(uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0.0f, kSpread);
  std::vector<uint16_t> tile(kTile);
  for (uint16_t& value : tile) {
    const float drawn = normal(random);
    uint32_t bits = 0;
    std::memcpy(&bits, &drawn, sizeof(bits));
    value = static_cast<uint16_t>(bits >> 16);  // bf16, towards zero
  }
  return tile;
}

// A matrix whose values, row after row, are the tile's, over and over.
class TiledRows final : public RowSource {
 public:
  TiledRows(const std::vector<uint16_t>& tile, int64_t rows, int64_t cols)
      : tile_(tile), rows_(rows), cols_(cols) {}

  DType dtype() const override { return DType::kBF16; }
  int64_t rows() const override { return rows_; }
  int64_t cols() const override { return cols_; }
  absl::Status Read(int64_t first, int64_t count, std::span<std::byte> out) const override {
    auto at = static_cast<size_t>(first * cols_) % kTile;
    auto left = static_cast<size_t>(count * cols_);
    for (std::byte* to = out.data(); left > 0;) {
      const size_t more = std::min(kTile - at, left);
      std::memcpy(to, tile_.data() + at, more * sizeof(uint16_t));
      to += more * sizeof(uint16_t);
      left -= more;
      at = 0;
    }
    return absl::OkStatus();
  }

 private:
  const std::vector<uint16_t>& tile_;
  const int64_t rows_;
  const int64_t cols_;
};

class Maker {
 public:
  Maker(uint64_t seed, Backend& backend, LoadedWeights& made)
      : backend_(backend), tile_(DrawTile(seed)), made_(made) {}

  absl::StatusOr<std::unique_ptr<PackedMatrix>> Matrix(int64_t rows, int64_t cols,
                                                       WeightFormat format) {
    ASSIGN_OR_RETURN(std::unique_ptr<PackedMatrix> packed,
                     backend_.Pack(TiledRows(tile_, rows, cols), FormatThatFits(format, cols)));
    made_.bytes += packed->bytes();
    ++made_.matrices;
    return packed;
  }

  absl::StatusOr<std::span<const float>> Ones(int64_t count) {
    return backend_.Upload(std::vector<float>(static_cast<size_t>(count), 1.0f));
  }

 private:
  Backend& backend_;
  const std::vector<uint16_t> tile_;
  LoadedWeights& made_;
};

}  // namespace

absl::StatusOr<LoadedWeights> MakeRandomWeights(const ModelShape& shape, const RankShard& shard,
                                                const WeightFormats& formats, uint64_t seed,
                                                Backend& backend, const LoadProgress& progress) {
  LoadedWeights made;
  Maker maker(seed, backend, made);
  ModelWeights& weights = made.weights;
  ASSIGN_OR_RETURN(weights.embedding, maker.Matrix(shape.vocab, shape.hidden, formats.embedding));
  if (!shape.tied_embeddings || shard.ranks > 1) {
    ASSIGN_OR_RETURN(weights.head,
                     maker.Matrix(shard.own_vocab().size(), shape.hidden, formats.embedding));
  }
  ASSIGN_OR_RETURN(weights.final_norm, maker.Ones(shape.hidden));
  ASSIGN_OR_RETURN(weights.inv_freq, backend.Upload(RopeFrequencies(shape.rope, shape.head_dim)));
  const int64_t inner = shard.intermediate.size();
  const WeightFormat format = formats.linear;
  for (const std::vector<int64_t>& kv_heads : shard.kv_heads) {
    LayerWeights& layer = weights.layers.emplace_back();
    layer.kv_heads = static_cast<int64_t>(kv_heads.size());
    const int64_t queries = layer.kv_heads * shape.group_size() * shape.head_dim;
    const int64_t keys = layer.kv_heads * shape.head_dim;
    ASSIGN_OR_RETURN(layer.attention_norm, maker.Ones(shape.hidden));
    ASSIGN_OR_RETURN(layer.qkv, maker.Matrix(queries + 2 * keys, shape.hidden, format));
    ASSIGN_OR_RETURN(layer.output, maker.Matrix(shape.hidden, queries, format));
    ASSIGN_OR_RETURN(layer.mlp_norm, maker.Ones(shape.hidden));
    ASSIGN_OR_RETURN(layer.gate_up, maker.Matrix(2 * inner, shape.hidden, format));
    ASSIGN_OR_RETURN(layer.down, maker.Matrix(shape.hidden, inner, format));
    progress(static_cast<double>(weights.layers.size()) / static_cast<double>(shape.layers));
  }
  return made;
}

}  // namespace headgate
