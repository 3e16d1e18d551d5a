// Attention of chunks of several tokens on Hopper: wgmma on tiles that tensor copies bring from
// pages and from the chunk itself, in the manner of FlashAttention-3 (Shah et al., 2024): two warps
// load, two warpgroups compute, the next tile's scores overlap this tile's values. Query heads of
// a kv head share a tile. The cost of a row is what its queries see: a streaming row's is
// O(window). docs/gpu.md says what its speed rests on.
#pragma once

#include <cuda_runtime.h>

#include "worker/cuda/attention/attention.h"

namespace headgate {

// Whether LaunchPrefill takes the call: compute capability 9, head_dim 64, 96 or 128, pages of a
// multiple of 16 tokens, at most 128 query heads per kv head. Else: LaunchAttend.
bool PrefillFits(const AttentionCall& call);

// All chunks of the step, or with long_chunks_only those of more than one row; `tiles` is the sum
// of their PrefillTiles. Asynchronous.
cudaError_t LaunchPrefill(const AttentionCall& call, int64_t tiles, cudaStream_t stream);

// Tiles of queries of a chunk of `length` rows when `group` query heads share a kv head.
int64_t PrefillTiles(int64_t length, int64_t group);

}  // namespace headgate
