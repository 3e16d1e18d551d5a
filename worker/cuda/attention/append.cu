// Writes the keys and values of a step's chunks to their pages.
#include <bit>
#include <cstdint>
#include <limits>

#include "base/check.h"
#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/page_key.cuh"
#include "worker/cuda/device/launch.cuh"

namespace headgate {
namespace {

constexpr int kTokens = 32;    // of a block: each has a thread that looks for its page
constexpr int kThreads = 256;  // of a block, at most
constexpr int kLoads = 4;      // of a thread under way

// The page's place for row m's key; null: there is no such row, or no later query sees it.
__device__ __nv_bfloat16* PlaceOfKey(const AttentionCall& call, int32_t m, int32_t head) {
  if (m >= call.step.rows) return nullptr;
  const StepSequence sequence = call.step.sequences[call.step.sequence_of[m]];
  if (sequence.length == 0 || (call.long_chunks_only && sequence.length == 1)) return nullptr;
  const int32_t row = call.row_begin + head;
  const RowSpec spec = call.tables.specs[row];
  const int64_t position = call.step.positions[m];
  const int64_t next = int64_t{sequence.position} + sequence.length;
  if (!InSinksOrWindow(spec, position, next, call.tables.page_tokens)) return nullptr;
  return KeyInPages(call, sequence.place, row, spec, sequence.position, position);
}

// A block takes one kv head of kTokens rows. Keys and values are counted in pieces: blockDim.x of
// them are a head of a row, and a thread copies the same one of several rows.
template <typename Piece>
__global__ void __launch_bounds__(kThreads) AppendKernel(AttentionCall call) {
  __shared__ Piece* keys[kTokens];
  const auto first_row = static_cast<int32_t>(blockIdx.x) * kTokens;
  const auto head = static_cast<int32_t>(blockIdx.y);
  const auto thread = static_cast<int32_t>(threadIdx.y * blockDim.x + threadIdx.x);
  bool found = false;
  if (thread < kTokens) {
    keys[thread] = reinterpret_cast<Piece*>(PlaceOfKey(call, first_row + thread, head));
    found = keys[thread] != nullptr;
  }
  if (__syncthreads_or(found) == 0) return;

  const auto pieces = static_cast<int32_t>(blockDim.x);
  const int32_t row_pieces = (call.heads + 2 * call.kv_heads) * pieces;
  const int32_t from_value = call.kv_heads * pieces;
  const int32_t to_value = call.tables.page_tokens * pieces;
  const Piece* from = reinterpret_cast<const Piece*>(call.qkv) +
                      static_cast<int64_t>(first_row) * row_pieces + (call.heads + head) * pieces +
                      threadIdx.x;
  // Items: the rows' keys, then their values.
  for (auto first = static_cast<int32_t>(threadIdx.y); first < 2 * kTokens;
       first += kLoads * static_cast<int32_t>(blockDim.y)) {
    Piece copied[kLoads] = {};
    Piece* to[kLoads] = {};
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      const int32_t item = first + i * static_cast<int32_t>(blockDim.y);
      if (item >= 2 * kTokens) continue;
      const bool value = item >= kTokens;
      const int32_t token = value ? item - kTokens : item;
      Piece* const key = keys[token];
      if (key == nullptr) continue;
      to[i] = key + (value ? to_value : 0) + threadIdx.x;
      copied[i] = from[token * row_pieces + (value ? from_value : 0)];
    }
#pragma unroll
    for (int i = 0; i < kLoads; ++i) {
      if (to[i] != nullptr) *to[i] = copied[i];
    }
  }
}

template <typename Piece>
void Append(const AttentionCall& call, cudaStream_t stream) {
  constexpr int64_t kMost = std::numeric_limits<int32_t>::max();
  const int64_t pieces = call.head_dim * int64_t{2} / static_cast<int64_t>(sizeof(Piece));
  const int64_t row_pieces = (call.heads + int64_t{2} * call.kv_heads) * pieces;
  CHECK(1 <= pieces && pieces <= kThreads) << "append: head_dim " << call.head_dim;
  CHECK(kTokens * row_pieces <= kMost && call.tables.page_tokens * pieces <= kMost &&
        call.step.rows <= kMost - kTokens && call.kv_heads <= 65535)
      << "append: the kernel counts the pieces of a block in 32 bits; " << call.heads
      << " heads, kv heads " << call.kv_heads << ", head_dim " << call.head_dim << ", rows "
      << call.step.rows;
  // A power of two: all threads then have as many items.
  const unsigned rows_at_once = std::bit_floor(static_cast<unsigned>(kThreads / pieces));
  const dim3 block(static_cast<unsigned>(pieces), rows_at_once);
  static_assert(kThreads / 4 >= kTokens, "a block has more than a quarter of kThreads");
  const dim3 grid(static_cast<unsigned>(Cover(call.step.rows, kTokens)),
                  static_cast<unsigned>(call.kv_heads));
  AppendKernel<Piece><<<grid, block, 0, stream>>>(call);
}

bool Aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

void LaunchAppend(const AttentionCall& call, cudaStream_t stream) {
  if (call.step.rows == 0 || call.kv_heads == 0) return;
  if (call.head_dim % 8 == 0 && Aligned(call.qkv) && Aligned(call.pages)) {
    Append<uint4>(call, stream);
  } else {
    Append<uint16_t>(call, stream);
  }
}

}  // namespace headgate
