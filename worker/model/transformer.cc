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
      {picked_, kLogitRowsMax, hidden, TensorUse::kSum},
      {picked_normed_, kLogitRowsMax, hidden, TensorUse::kOperand},
      {logits_, kLogitRowsMax, own_vocab, TensorUse::kSum},
  };
  for (const auto& buffer : buffers) {
    ASSIGN_OR_RETURN(buffer.tensor, backend_.Allocate(buffer.rows, buffer.cols, buffer.use));
  }
  if (shard_.ranks > 1 && shard_.rank == 0) {
    gathered_.resize(static_cast<size_t>(kLogitRowsMax * shape_.vocab));
    whole_.resize(gathered_.size());
  }
  return absl::OkStatus();
}

absl::Status Transformer::Forward(const Batch& batch) {
  const int64_t rows = batch.rows();
  CHECK(1 <= rows && rows <= residual_.rows) << "a batch of " << rows << " rows";
  const float eps = static_cast<float>(shape_.rms_norm_eps);
  const Tensor residual = residual_.Rows(rows);
  const Tensor normed = normed_.Rows(rows);
  const Tensor delta = delta_.Rows(rows);
  const Tensor gate_up = gate_up_.Rows(rows);
  const Tensor hidden = hidden_.Rows(rows);
  backend_.BeginStep(batch);
  backend_.Embed(*weights_.embedding, residual);
  backend_.RmsNorm(residual, weights_.layers[0].attention_norm, eps, normed);
  for (int64_t l = 0; l < shape_.layers; ++l) {
    const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
    Attention(l, rows);
    RETURN_IF_ERROR(SumOverRanks(delta));
    backend_.AddRmsNorm(residual, delta, layer.mlp_norm, eps, normed);
    Multiply(normed, *layer.gate_up, layer.gate_up_bias, gate_up);
    backend_.SiluMul(gate_up, hidden);
    Multiply(hidden, *layer.down, layer.down_bias, delta);
    RETURN_IF_ERROR(SumOverRanks(delta));
    if (l + 1 == shape_.layers) break;
    backend_.AddRmsNorm(residual, delta, weights_.layers[static_cast<size_t>(l + 1)].attention_norm,
                        eps, normed);
  }
  backend_.Add(residual, delta);
  return absl::OkStatus();
}

// delta := this rank's heads' part of the attention block of `normed`.
void Transformer::Attention(int64_t l, int64_t rows) {
  const LayerWeights& layer = weights_.layers[static_cast<size_t>(l)];
  const float eps = static_cast<float>(shape_.rms_norm_eps);
  const int64_t heads = layer.kv_heads * shape_.group_size();
  const Tensor qkv = View(qkv_, rows, (heads + 2 * layer.kv_heads) * shape_.head_dim);
  const Tensor attended = View(attended_, rows, heads * shape_.head_dim);
  Multiply(normed_.Rows(rows), *layer.qkv, layer.qkv_bias, qkv);
  if (!layer.q_norm.empty()) {
    backend_.HeadNorm(qkv, 0, heads, layer.q_norm, eps);
    backend_.HeadNorm(qkv, heads * shape_.head_dim, layer.kv_heads, layer.k_norm, eps);
  }
  {
    const Stopwatch watch(times_.attention);
    // Queries and keys lie side by side.
    backend_.Rope(qkv, 0, heads + layer.kv_heads, weights_.inv_freq);
    backend_.AttendAndAppend(l, qkv, heads, attended);
  }
  Multiply(attended, *layer.output, layer.output_bias, delta_.Rows(rows));
}

absl::StatusOr<std::span<const float>> Transformer::Logits(std::span<const int32_t> rows,
                                                           Collective& collective) {
  const std::span<const float> values = OwnLogits(rows);
  if (shard_.ranks == 1) return values;
  return GatherVocab(values, static_cast<int64_t>(rows.size()), collective);
}

std::span<const float> Transformer::OwnLogits(std::span<const int32_t> rows) {
  const int64_t count = static_cast<int64_t>(rows.size());
  CHECK_LE(count, kLogitRowsMax);
  const Tensor picked = picked_.Rows(count);
  const Tensor normed = picked_normed_.Rows(count);
  const Tensor logits = View(logits_, count, shard_.own_vocab().size());
  backend_.GatherRows(residual_, rows, picked);
  backend_.RmsNorm(picked, weights_.final_norm, static_cast<float>(shape_.rms_norm_eps), normed);
  Multiply(normed, weights_.output_head(), {}, logits);
  return backend_.Read(logits);
}

// Every rank has all rows of its part of the vocabulary; rank 0 makes whole rows of them.
absl::StatusOr<std::span<const float>> Transformer::GatherVocab(std::span<const float> logits,
                                                                int64_t rows,
                                                                Collective& collective) {
  const Stopwatch watch(times_.collective);
  std::vector<int64_t> counts;
  for (const Span& part : shard_.vocab) counts.push_back(rows * part.size());
  RETURN_IF_ERROR(collective.GatherToRoot(logits, counts, gathered_));
  if (shard_.rank != 0) return std::span<const float>();
  const float* from = gathered_.data();
  for (const Span& part : shard_.vocab) {
    for (int64_t row = 0; row < rows; ++row, from += part.size()) {
      std::copy_n(from, part.size(), whole_.data() + row * shape_.vocab + part.begin);
    }
  }
  return std::span<const float>(whole_).first(static_cast<size_t>(rows * shape_.vocab));
}

absl::Status Transformer::SumOverRanks(Tensor values) {
  if (shard_.ranks == 1) return absl::OkStatus();
  const Stopwatch watch(times_.collective);
  return backend_.AllReduceSum(values);
}

void Transformer::Multiply(Tensor x, const PackedMatrix& w, std::span<const float> bias,
                           Tensor out) {
  const Stopwatch watch(times_.dense);
  backend_.MatMul(x, w, bias, out);
}

StepTimes Transformer::TakeTimes() { return std::exchange(times_, StepTimes{}); }

}  // namespace headgate
