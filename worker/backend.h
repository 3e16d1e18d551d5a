// The small set of operations that every device implements. The CPU backend is the oracle for all
// others: same names, same shapes, same order of operations.
//
// One step thread calls a backend. Operations may run asynchronously in call order; the sampler's
// Await waits for them. Shapes in comments: M = rows of the batch, H = hidden, D = head_dim.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/step.h"
#include "kvstore/kv_layout.h"
#include "kvstore/page_store.h"
#include "worker/batch.h"
#include "worker/collective/collective.h"
#include "worker/row_source.h"
#include "worker/sampling/token_sampler.h"
#include "worker/step_clock.h"
#include "worker/tensor.h"

namespace headgate {

// kInt4: groups of 32 inputs, fp16 scale and minimum (w = scale * q + min, q in 0..15).
// kInt8: groups of 32 inputs, fp16 scale (w = scale * q, q in -127..127).
// A row of weights that came from such a format is reproduced exactly. kAsStored keeps fp32 as fp32
// and fp16/bf16 as bf16.
enum class WeightFormat : uint8_t { kAsStored, kF32, kBF16, kInt8, kInt4 };

// A device's packed form of one weight matrix [outputs, inputs]. Opaque to the model.
class PackedMatrix {
 public:
  virtual ~PackedMatrix() = default;
  virtual int64_t outputs() const = 0;
  virtual int64_t inputs() const = 0;
  virtual int64_t bytes() const = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string Describe() const = 0;  // device, instruction set, threads: one line
  // The device's own clock; null where the operations are done when they return.
  virtual StepClock* step_clock() = 0;
  // Everything here that has a limit, for metrics; each name once. Asked for at every step.
  virtual std::vector<QueueStats> Queues() const = 0;

  // --- Start-up -----------------------------------------------------------------------------
  // Memory for activations, alive as long as the backend. RESOURCE_EXHAUSTED when there is none.
  virtual absl::StatusOr<Tensor> Allocate(int64_t rows, int64_t cols, TensorUse use) = 0;
  // Reads, converts and lays out a weight matrix. INVALID_ARGUMENT when `format` does not fit its
  // shape; the source's errors.
  virtual absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const RowSource& rows,
                                                             WeightFormat format) = 0;
  // A small fp32 vector (norm weight, bias, rope frequencies) in device memory.
  virtual absl::StatusOr<std::span<const float>> Upload(std::span<const float> values) = 0;
  // May find out how products of up to x.rows rows with w are computed fastest: MatMul with these
  // tensors, which are spoilt. To be called once for every matrix. Errors: the device's.
  virtual absl::Status PrepareMatMul(Tensor x, const PackedMatrix& w, Tensor out) = 0;
  // Rows whose logits may be computed at a time: more read the head's weights less often, and take
  // more memory.
  virtual int64_t LogitRowsMax() const = 0;
  // Device memory that pages may take when the operator says nothing, `ranks` ranks sharing the
  // machine. Asked for when everything else is allocated.
  virtual int64_t PageMemoryBytes(int ranks) const = 0;
  // Memory for `pages` pages of `layout`; page id p begins at byte p * page_bytes. Returns their
  // tables, for rows of at most `positions_max`; they live no longer than the backend.
  // RESOURCE_EXHAUSTED when there is no memory, INVALID_ARGUMENT for a layout that the device has
  // no kernels for.
  virtual absl::StatusOr<std::unique_ptr<PageStore>> CreatePages(const KvLayout& layout,
                                                                 uint32_t pages,
                                                                 int64_t positions_max) = 0;
  // What chooses the tokens of the sequences in those pages. REQUIRES: CreatePages succeeded; the
  // result lives no longer than the backend. RESOURCE_EXHAUSTED when there is no memory.
  virtual absl::StatusOr<std::unique_ptr<TokenSampler>> CreateSampler(
      const SamplerShape& shape) = 0;

  // --- The group ----------------------------------------------------------------------------
  // The peers that sums and the sampler work with until the next call; null: none. All ranks call
  // it together. Errors: the collective's.
  virtual absl::Status Connect(Collective* peers) = 0;

  // --- One step -----------------------------------------------------------------------------
  // Returns M, the rows that the operations below work on until the next call: the batch's, and as
  // many more without meaning, up to rows_max in all, as the device likes: steps that have the same
  // M it may replay. `batch` lives as long; the page store has begun the same step, or
  // AttendAndAppend is not called. REQUIRES: rows_max is at least the batch's rows, and the same on
  // all ranks.
  virtual int64_t BeginStep(const Batch& batch, int64_t rows_max) = 0;
  // Calls `operations`, or replays what an earlier call of it recorded. REQUIRES: they are
  // operations of this interface alone, and in steps of one row a sequence (decodes_only) which
  // ones, with which arguments, follows from the number of rows.
  virtual absl::Status Run(absl::FunctionRef<absl::Status()> operations) = 0;
  // out[m] = table[batch.tokens[m]]                                         out [M, H]
  virtual void Embed(const PackedMatrix& table, Tensor out) = 0;
  // out = x / sqrt(mean(x^2) + eps) * weight, over the columns              x, out [M, H]
  virtual void RmsNorm(Tensor x, std::span<const float> weight, float eps, Tensor out) = 0;
  // residual += sum of delta over the ranks, the same bits on every rank; out = RmsNorm(residual).
  // delta is spoilt. Errors: the collective's.                              all [M, H]
  virtual absl::Status SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                                     float eps, Tensor out) = 0;
  // The same without a norm.
  virtual absl::Status SumAdd(Tensor residual, Tensor delta) = 0;
  // out = x * w^T (+ bias)            x [M, inputs], out [M, outputs]; bias empty or [outputs]
  virtual void MatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor out) = 0;
  // gate, up = halves of x * w^T (+ bias), gate first; out = silu(gate) * up. out [M, I]; what
  // gate_up [M, 2 I] holds afterwards is undefined.
  virtual void GatedMatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias,
                           Tensor gate_up, Tensor out) = 0;
  // RMS norm of every head's D columns of x [M, cols] from column `begin` on (q_norm, k_norm).
  virtual void HeadNorm(Tensor x, int64_t begin, int64_t heads, std::span<const float> weight,
                        float eps) = 0;
  // Rotates q and k heads, half-split (NeoX) order, by batch.positions * inv_freq [D / 2] (empty:
  // they are rotated already). Then, for every row m and head: attention over Vis
  // (kvstore/visibility.h), scale 1/sqrt(D), reading earlier positions from pages and the chunk's
  // own from `qkv`; then writes the chunk's K and V to the pages where a later query can still see
  // them. qkv is spoilt.
  // qkv [M, (heads + 2 * kv_heads) * D]: q heads, k heads, v heads. out [M, heads * D]. Query head
  // i reads kv head i / (heads / kv_heads). An `out` without rows: writes the pages alone.
  virtual void AttendAndAppend(int64_t layer, Tensor qkv, std::span<const float> inv_freq,
                               int64_t heads, Tensor out) = 0;
  // out[i] = x[batch.outputs[begin + i]]; both of one use
  virtual void GatherOutputs(Tensor x, int64_t begin, Tensor out) = 0;
};

}  // namespace headgate
