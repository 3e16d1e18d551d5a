// The small set of operations that every device implements. The CPU backend is the oracle for all
// others: same names, same shapes, same order of operations.
//
// One step thread calls a backend. Operations may run asynchronously in call order; Read waits for
// them. Shapes in comments: M = rows of the batch, H = hidden, D = head_dim.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/ids.h"
#include "base/step.h"
#include "kvstore/kv_layout.h"
#include "kvstore/page_store.h"
#include "worker/collective/collective.h"

namespace headgate {

// What activations are for. A device may keep operands of multiplications in a narrower type (the
// CPU: fp32, CUDA: bf16); sums over layers and logits are fp32 everywhere.
enum class TensorUse : uint8_t { kSum, kOperand };

// A dense row-major view of device memory. Does not own it.
struct Tensor {
  void* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;

  Tensor Rows(int64_t count) const { return {data, dtype, count, cols}; }
  float* f32() const { return static_cast<float*>(data); }
};

// A weight matrix in host memory as the checkpoint has it: [rows = outputs, cols = inputs].
struct HostMatrix {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t row_stride = 0;  // elements between rows; >= cols (a column slice of a larger matrix)
};

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

// One sequence's rows of the batch.
struct BatchSequence {
  SequenceId sequence = 0;
  int64_t position = 0;  // of its first row
  int64_t offset = 0;    // its first row in the batch
  int64_t length = 0;    // rows
};

// The tokens of one step, all chunks back to back.
struct Batch {
  std::vector<TokenId> tokens;     // [M]
  std::vector<int32_t> positions;  // [M]
  std::vector<BatchSequence> sequences;

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

class Backend {
 public:
  virtual ~Backend() = default;

  virtual std::string Describe() const = 0;  // device, instruction set, threads: one line

  // --- Start-up -----------------------------------------------------------------------------
  // Memory for activations, alive as long as the backend. RESOURCE_EXHAUSTED when there is none.
  virtual absl::StatusOr<Tensor> Allocate(int64_t rows, int64_t cols, TensorUse use) = 0;
  // Converts and lays out a weight matrix. INVALID_ARGUMENT when `format` does not fit its shape.
  virtual absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const HostMatrix& matrix,
                                                             WeightFormat format) = 0;
  // A small fp32 vector (norm weight, bias, rope frequencies) in device memory.
  virtual absl::StatusOr<std::span<const float>> Upload(std::span<const float> values) = 0;
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

  // --- The group ----------------------------------------------------------------------------
  // The peers that AllReduceSum sums with until the next call; null: none. All ranks call it
  // together. Errors: the collective's.
  virtual absl::Status Connect(Collective* peers) = 0;
  // values := sum over ranks, the same bits on every rank. Errors: the collective's.
  virtual absl::Status AllReduceSum(Tensor values) = 0;

  // --- One step -----------------------------------------------------------------------------
  // The rows that the operations below work on until the next call. `batch` lives as long; the page
  // store has begun the same step, or AttendAndAppend is not called.
  virtual void BeginStep(const Batch& batch) = 0;
  // out[m] = table[batch.tokens[m]]                                         out [M, H]
  virtual void Embed(const PackedMatrix& table, Tensor out) = 0;
  // out = x / sqrt(mean(x^2) + eps) * weight, over the columns              x, out [M, H]
  virtual void RmsNorm(Tensor x, std::span<const float> weight, float eps, Tensor out) = 0;
  // residual += delta; out = RmsNorm(residual)                              all [M, H]
  virtual void AddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight, float eps,
                          Tensor out) = 0;
  // out = x * w^T (+ bias)            x [M, inputs], out [M, outputs]; bias empty or [outputs]
  virtual void MatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor out) = 0;
  // RMS norm of every head's D columns of x [M, cols] from column `begin` on (q_norm, k_norm).
  virtual void HeadNorm(Tensor x, int64_t begin, int64_t heads, std::span<const float> weight,
                        float eps) = 0;
  // Rotates `heads` heads of D columns from column `begin` on, half-split (NeoX) order, by
  // batch.positions * inv_freq [D / 2].
  virtual void Rope(Tensor x, int64_t begin, int64_t heads, std::span<const float> inv_freq) = 0;
  // For every row m and head: attention over Vis (kvstore/visibility.h), scale 1/sqrt(D), reading
  // earlier positions from pages and the chunk's own from `qkv`; then writes the chunk's K and V to
  // the pages where a later query can still see them.
  // qkv [M, (heads + 2 * kv_heads) * D]: q heads, k heads, v heads. out [M, heads * D]. Query head
  // i reads kv head i / (heads / kv_heads).
  virtual void AttendAndAppend(int64_t layer, Tensor qkv, int64_t heads, Tensor out) = 0;
  // out = silu(gate) * up                        gate_up [M, 2 I] (gate first), out [M, I]
  virtual void SiluMul(Tensor gate_up, Tensor out) = 0;
  // residual += delta                                                       both [M, H]
  virtual void Add(Tensor residual, Tensor delta) = 0;
  // out[i] = x[rows[i]]
  virtual void GatherRows(Tensor x, std::span<const int32_t> rows, Tensor out) = 0;

  // Waits for the operations so far. The values, row by row, in host memory until the next Read.
  // REQUIRES: an fp32 tensor.
  virtual std::span<const float> Read(Tensor values) = 0;
};

}  // namespace headgate
