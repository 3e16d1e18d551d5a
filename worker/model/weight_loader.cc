#include "worker/model/weight_loader.h"

#include <memory>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "worker/format/rope.h"
#include "worker/format/weight_plan.h"
#include "worker/model/weight_source.h"

namespace headgate {
namespace {

using P = WeightPart;

class Loader {
 public:
  Loader(const Checkpoint& checkpoint, const ModelShape& shape, const RankShard& shard,
         const WeightFormats& formats, Backend& backend)
      : checkpoint_(checkpoint),
        shape_(shape),
        shard_(shard),
        formats_(formats),
        backend_(backend) {}

  absl::Status LoadEmbedding();
  absl::Status LoadLayer(int64_t layer);
  LoadedWeights Take() { return std::move(loaded_); }

 private:
  absl::Status LoadAttention(int64_t layer, LayerWeights& out);
  absl::Status LoadMlp(int64_t layer, LayerWeights& out);
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const RowSource& rows, WeightFormat format);
  // The packed rows of one or more matrices, and their biases in the same order.
  absl::StatusOr<std::unique_ptr<PackedMatrix>> PackRows(
      int64_t layer, const std::vector<std::pair<P, Span>>& rows);
  absl::StatusOr<std::span<const float>> UploadBias(int64_t layer,
                                                    const std::vector<std::pair<P, Span>>& rows);
  absl::StatusOr<std::span<const float>> UploadVector(P part, int64_t layer = -1);
  absl::StatusOr<std::unique_ptr<PackedMatrix>> PackColumns(P part, int64_t layer,
                                                            const std::vector<Span>& columns);

  const Checkpoint& checkpoint_;
  const ModelShape& shape_;
  const RankShard& shard_;
  const WeightFormats& formats_;
  Backend& backend_;
  LoadedWeights loaded_;
};

absl::StatusOr<std::unique_ptr<PackedMatrix>> Loader::Pack(const RowSource& rows,
                                                           WeightFormat format) {
  const WeightFormat fitting = FormatThatFits(format, rows.cols());
  ASSIGN_OR_RETURN(std::unique_ptr<PackedMatrix> packed, backend_.Pack(rows, fitting));
  loaded_.bytes += packed->bytes();
  ++loaded_.matrices;
  if (fitting != format) ++loaded_.matrices_as_stored;
  return packed;
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> Loader::PackRows(
    int64_t layer, const std::vector<std::pair<P, Span>>& rows) {
  StackedRows stacked(checkpoint_);
  for (const auto& [part, span] : rows) {
    RETURN_IF_ERROR(stacked.Append(WeightName(part, layer), span));
  }
  return Pack(stacked, formats_.linear);
}

absl::StatusOr<std::span<const float>> Loader::UploadBias(
    int64_t layer, const std::vector<std::pair<P, Span>>& rows) {
  std::vector<float> bias;
  for (const auto& [part, span] : rows) {
    ASSIGN_OR_RETURN(const std::vector<float> all,
                     ReadFloats(checkpoint_, WeightName(part, layer)));
    bias.insert(bias.end(), all.begin() + span.begin, all.begin() + span.end);
  }
  return backend_.Upload(bias);
}

absl::StatusOr<std::span<const float>> Loader::UploadVector(P part, int64_t layer) {
  ASSIGN_OR_RETURN(const std::vector<float> values,
                   ReadFloats(checkpoint_, WeightName(part, layer)));
  return backend_.Upload(values);
}

absl::StatusOr<std::unique_ptr<PackedMatrix>> Loader::PackColumns(
    P part, int64_t layer, const std::vector<Span>& columns) {
  ASSIGN_OR_RETURN(const PickedColumns picked,
                   PickedColumns::Create(checkpoint_, WeightName(part, layer), columns));
  return Pack(picked, formats_.linear);
}

absl::Status Loader::LoadAttention(int64_t layer, LayerWeights& out) {
  const std::vector<int64_t>& kv_heads = shard_.kv_heads[static_cast<size_t>(layer)];
  const int64_t d = shape_.head_dim;
  const int64_t queries = shape_.group_size() * d;  // columns of one kv head's query heads
  std::vector<std::pair<P, Span>> weights, biases;
  std::vector<Span> output_columns;
  for (const int64_t head : kv_heads) {
    const Span span{head * queries, (head + 1) * queries};
    weights.push_back({P::kQuery, span});
    biases.push_back({P::kQueryBias, span});
    output_columns.push_back(span);
  }
  for (const auto& [weight, bias] : {std::pair{P::kKey, P::kKeyBias}, {P::kValue, P::kValueBias}}) {
    for (const int64_t head : kv_heads) {
      weights.push_back({weight, {head * d, (head + 1) * d}});
      biases.push_back({bias, {head * d, (head + 1) * d}});
    }
  }
  out.kv_heads = static_cast<int64_t>(kv_heads.size());
  ASSIGN_OR_RETURN(out.attention_norm, UploadVector(P::kAttentionNorm, layer));
  ASSIGN_OR_RETURN(out.qkv, PackRows(layer, weights));
  if (shape_.qkv_bias) {
    ASSIGN_OR_RETURN(out.qkv_bias, UploadBias(layer, biases));
  }
  if (shape_.qk_norm) {
    ASSIGN_OR_RETURN(out.q_norm, UploadVector(P::kQueryNorm, layer));
    ASSIGN_OR_RETURN(out.k_norm, UploadVector(P::kKeyNorm, layer));
  }
  ASSIGN_OR_RETURN(out.output, PackColumns(P::kOutput, layer, output_columns));
  if (shape_.output_bias && shard_.rank == 0) {
    ASSIGN_OR_RETURN(out.output_bias, UploadVector(P::kOutputBias, layer));
  }
  return absl::OkStatus();
}

absl::Status Loader::LoadMlp(int64_t layer, LayerWeights& out) {
  const Span inner = shard_.intermediate;
  ASSIGN_OR_RETURN(out.mlp_norm, UploadVector(P::kMlpNorm, layer));
  ASSIGN_OR_RETURN(out.gate_up, PackRows(layer, {{P::kGate, inner}, {P::kUp, inner}}));
  ASSIGN_OR_RETURN(out.down, PackColumns(P::kDown, layer, {inner}));
  if (shape_.mlp_bias) {
    ASSIGN_OR_RETURN(out.gate_up_bias,
                     UploadBias(layer, {{P::kGateBias, inner}, {P::kUpBias, inner}}));
  }
  if (shape_.mlp_bias && shard_.rank == 0) {
    ASSIGN_OR_RETURN(out.down_bias, UploadVector(P::kDownBias, layer));
  }
  return absl::OkStatus();
}

absl::Status Loader::LoadLayer(int64_t layer) {
  LayerWeights weights;
  RETURN_IF_ERROR(LoadAttention(layer, weights));
  RETURN_IF_ERROR(LoadMlp(layer, weights));
  loaded_.weights.layers.push_back(std::move(weights));
  return absl::OkStatus();
}

absl::Status Loader::LoadEmbedding() {
  ModelWeights& weights = loaded_.weights;
  const Span own = shard_.own_vocab();
  {
    StackedRows table(checkpoint_);
    RETURN_IF_ERROR(table.Append(WeightName(P::kEmbedding), {0, shape_.vocab}));
    ASSIGN_OR_RETURN(weights.embedding, Pack(table, formats_.embedding));
  }
  if (!shape_.tied_embeddings || shard_.ranks > 1) {
    StackedRows head(checkpoint_);
    const P part = shape_.tied_embeddings ? P::kEmbedding : P::kHead;
    RETURN_IF_ERROR(head.Append(WeightName(part), own));
    ASSIGN_OR_RETURN(weights.head, Pack(head, formats_.embedding));
  }
  ASSIGN_OR_RETURN(weights.final_norm, UploadVector(P::kFinalNorm));
  ASSIGN_OR_RETURN(weights.inv_freq,
                   backend_.Upload(RopeFrequencies(shape_.rope, shape_.head_dim)));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LoadedWeights> LoadWeights(const Checkpoint& checkpoint, const ModelShape& shape,
                                          const RankShard& shard, const WeightFormats& formats,
                                          Backend& backend, const LoadProgress& progress) {
  Loader loader(checkpoint, shape, shard, formats, backend);
  // The embedding counts as one layer.
  const double parts = static_cast<double>(shape.layers + 1);
  RETURN_IF_ERROR(loader.LoadEmbedding());
  progress(1.0 / parts);
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    RETURN_IF_ERROR(loader.LoadLayer(layer));
    progress(static_cast<double>(layer + 2) / parts);
  }
  return loader.Take();
}

}  // namespace headgate
