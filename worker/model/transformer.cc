#include "worker/model/transformer.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

// Adds the time until the end of the scope to a total.
class Stopwatch {
 public:
  explicit Stopwatch(absl::Duration& total) : total_(total), start_(absl::GetCurrentTimeNanos()) {}
  ~Stopwatch() { total_ += absl::Nanoseconds(absl::GetCurrentTimeNanos() - start_); }
  Stopwatch(const Stopwatch&) = delete;
  Stopwatch& operator=(const Stopwatch&) = delete;

 private:
  absl::Duration& total_;
  const int64_t start_;
};

Tensor View(Tensor buffer, int64_t rows, int64_t cols) {
  return {buffer.data, buffer.dtype, rows, cols};
}

}  // namespace

Transformer::Transformer(const ModelShape& shape, RankShard shard, ModelWeights weights,
                         Backend& backend)
    : shape_(shape), shard_(std::move(shard)), weights_(std::move(weights)), backend_(backend) {}

absl::StatusOr<std::unique_ptr<Transformer>> Transformer::Create(const ModelShape& shape,
                                                                 RankShard shard,
                                                                 ModelWeights weights,
                                                                 int64_t step_tokens_max,
                                                                 Backend& backend) {
  std::unique_ptr<Transformer> transformer(
      new Transformer(shape, std::move(shard), std::move(weights), backend));
  RETURN_IF_ERROR(transformer->Allocate(step_tokens_max));
  RETURN_IF_ERROR(transformer->PrepareProducts());
  return transformer;
}

absl::Status Transformer::Allocate(int64_t step_tokens_max) {
  int64_t kv_heads_max = 0;
  for (const LayerWeights& layer : weights_.layers) {
    kv_heads_max = std::max(kv_heads_max, layer.kv_heads);
  }
  const int64_t query_cols = kv_heads_max * shape_.group_size() * shape_.head_dim;
  const int64_t qkv_cols = query_cols + 2 * kv_heads_max * shape_.head_dim;
  const int64_t inner = shard_.intermediate.size();
  const int64_t hidden = shape_.hidden;
  const int64_t own_vocab = shard_.own_vocab().size();
  const int64_t logit_rows = std::min(backend_.LogitRowsMax(), step_tokens_max);
  const struct {
    Tensor& tensor;
    int64_t rows;
    int64_t cols;
    TensorUse use;
  } buffers[] = {
      {residual_, step_tokens_max, hidden, TensorUse::kSum},
      {normed_, step_tokens_max, hidden, TensorUse::kOperand},
      {delta_, step_tokens_max, hidden, TensorUse::kOperand},
      {qkv_, step_tokens_max, qkv_cols, TensorUse::kOperand},
      {attended_, step_tokens_max, query_cols, TensorUse::kOperand},
      {gate_up_, step_tokens_max, 2 * inner, TensorUse::kOperand},
      {hidden_, step_tokens_max, inner, TensorUse::kOperand},
      {picked_, logit_rows, hidden, TensorUse::kSum},
      {picked_normed_, logit_rows, hidden, TensorUse::kOperand},
      {logits_, logit_rows, own_vocab, TensorUse::kSum},
  };
  for (const auto& buffer : buffers) {
    ASSIGN_OR_RETURN(buffer.tensor, backend_.Allocate(buffer.rows, buffer.cols, buffer.use));
  }
  return absl::OkStatus();
}

absl::Status Transformer::PrepareProducts() {
  for (const LayerWeights& layer : weights_.layers) {
    const Tensor qkv = Qkv(layer, qkv_.rows), attended = Attended(layer, attended_.rows);
    RETURN_IF_ERROR(backend_.PrepareMatMul(normed_, *layer.qkv, qkv));
    RETURN_IF_ERROR(backend_.PrepareMatMul(attended, *layer.output, delta_));
    RETURN_IF_ERROR(backend_.PrepareMatMul(normed_, *layer.gate_up, gate_up_));
    RETURN_IF_ERROR(backend_.PrepareMatMul(hidden_, *layer.down, delta_));
  }
  return backend_.PrepareMatMul(picked_normed_, weights_.output_head(), logits_);
}

Tensor Transformer::Qkv(const LayerWeights& layer, int64_t rows) const {
  const int64_t heads = layer.kv_heads * (shape_.group_size() + 2);
  return View(qkv_, rows, heads * shape_.head_dim);
}

Tensor Transformer::Attended(const LayerWeights& layer, int64_t rows) const {
  return View(attended_, rows, layer.kv_heads * shape_.group_size() * shape_.head_dim);
}

absl::Status Transformer::Forward(const Batch& batch) {
  CHECK(1 <= batch.rows() && batch.rows() <= residual_.rows)
      << "a batch of " << batch.rows() << " rows";
  const int64_t rows = backend_.BeginStep(batch, residual_.rows);
  outputs_ = static_cast<int64_t>(batch.outputs.size());
  few_outputs_ = !batch.decodes_only() && outputs_ <= picked_.rows && 2 * outputs_ <= batch.rows();
  return backend_.Run([this, rows] { return Layers(rows); });
}

absl::Status Transformer::Layers(int64_t rows) {
  const Tensor residual = residual_.Rows(rows);
  backend_.Embed(*weights_.embedding, residual);
  backend_.RmsNorm(residual, weights_.layers[0].attention_norm,
                   static_cast<float>(shape_.rms_norm_eps), normed_.Rows(rows));
  for (int64_t l = 0; l + 1 < shape_.layers; ++l) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
    const Tensor attended = Attended(layer, rows);
    Attend(l, rows, attended);
    RETURN_IF_ERROR(AddBlocks(layer, attended, residual,
                              weights_.layers[static_cast<size_t>(l + 1)].attention_norm));
  }
  return LastLayer(rows);
}

// What follows the last attention is computed for the outputs alone where they are few: nobody
// reads the other rows.
absl::Status Transformer::LastLayer(int64_t rows) {
  const LayerWeights& layer = weights_.layers.back();
  const Tensor attended = Attended(layer, few_outputs_ && outputs_ == 0 ? 0 : rows);
  Attend(shape_.layers - 1, rows, attended);
  if (!few_outputs_) return AddBlocks(layer, attended, residual_.Rows(rows), {});
  if (outputs_ == 0) return absl::OkStatus();
  const Tensor picked = picked_.Rows(outputs_);
  const Tensor picked_attended = View(qkv_, outputs_, attended.cols);  // qkv has been used
  backend_.GatherOutputs(residual_.Rows(rows), 0, picked);
  backend_.GatherOutputs(attended, 0, picked_attended);
  return AddBlocks(layer, picked_attended, picked, {});
}

// attended := this rank's heads' attention of `normed`; keys and values are written. Without rows:
// these alone.
void Transformer::Attend(int64_t l, int64_t rows, Tensor attended) {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
  const float eps = static_cast<float>(shape_.rms_norm_eps);
  const int64_t heads = layer.kv_heads * shape_.group_size();
  const Tensor qkv = Qkv(layer, rows);
  Multiply(normed_.Rows(rows), *layer.qkv, layer.qkv_bias, qkv);
  if (!layer.q_norm.empty()) {
    backend_.HeadNorm(qkv, 0, heads, layer.q_norm, eps);
    backend_.HeadNorm(qkv, heads * shape_.head_dim, layer.kv_heads, layer.k_norm, eps);
  }
  const Stopwatch watch(times_.attention);
  backend_.AttendAndAppend(l, qkv, weights_.inv_freq, heads, attended);
}

// residual += the attention block of `attended`, then the MLP's block; normed := the residual's
// norm, if one follows.
absl::Status Transformer::AddBlocks(const LayerWeights& layer, Tensor attended, Tensor residual,
                                    std::span<const float> next_norm) {
  const int64_t rows = residual.rows;
  const Tensor hidden = hidden_.Rows(rows), delta = delta_.Rows(rows);
  Multiply(attended, *layer.output, layer.output_bias, delta);
  RETURN_IF_ERROR(AddToResidual(residual, layer.mlp_norm));
  {
    const Stopwatch watch(times_.dense);
    backend_.GatedMatMul(normed_.Rows(rows), *layer.gate_up, layer.gate_up_bias,
                         gate_up_.Rows(rows), hidden);
  }
  Multiply(hidden, *layer.down, layer.down_bias, delta);
  return AddToResidual(residual, next_norm);
}

// residual += delta of all ranks; normed := the residual's norm, if one follows.
absl::Status Transformer::AddToResidual(Tensor residual, std::span<const float> next_norm) {
  absl::Duration alone;  // without peers this is no collective
  const Stopwatch watch(shard_.ranks > 1 ? times_.collective : alone);
  const Tensor delta = delta_.Rows(residual.rows);
  if (next_norm.empty()) return backend_.SumAdd(residual, delta);
  return backend_.SumAddRmsNorm(residual, delta, next_norm, static_cast<float>(shape_.rms_norm_eps),
                                normed_.Rows(residual.rows));
}

Tensor Transformer::Logits(int64_t begin, int64_t count) {
  CHECK(count <= logits_.rows && begin % logits_.rows == 0 && begin + count <= outputs_)
      << "Logits of outputs " << begin << " to " << begin + count << " of " << outputs_;
  const Tensor picked = picked_.Rows(count);
  const Tensor normed = picked_normed_.Rows(count);
  const Tensor logits = View(logits_, count, shard_.own_vocab().size());
  if (!few_outputs_) backend_.GatherOutputs(residual_, begin, picked);
  backend_.RmsNorm(picked, weights_.final_norm, static_cast<float>(shape_.rms_norm_eps), normed);
  Multiply(normed, weights_.output_head(), {}, logits);
  return logits;
}

void Transformer::Multiply(Tensor x, const PackedMatrix& w, std::span<const float> bias,
                           Tensor out) {
  const Stopwatch watch(times_.dense);
  backend_.MatMul(x, w, bias, out);
}

StepTimes Transformer::TakeTimes() { return std::exchange(times_, StepTimes{}); }

}  // namespace headgate
