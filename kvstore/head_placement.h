// Which rank of a tensor-parallel group holds which kv heads. Pure functions.
//
// Attention is as slow as the rank with the most retrieval heads in a layer, so heads are permuted
// inside every layer: retrieval heads (full, gated) are dealt evenly, and what does not divide goes
// to the rank that had the least so far. Heads may be permuted freely because o_proj sums over
// them.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "kvstore/visibility.h"

namespace headgate {

struct HeadPlacement {
  // heads[layer][rank]: the model's kv heads on that rank, ascending. A rank's position in the list
  // is its local kv head (KvLayout::row).
  std::vector<std::vector<std::vector<int64_t>>> heads;

  int64_t layers() const { return static_cast<int64_t>(heads.size()); }
  const std::vector<int64_t>& at(int64_t layer, int rank) const {
    return heads[static_cast<size_t>(layer)][static_cast<size_t>(rank)];
  }
};

// Splits `rows` [layers, kv_heads] over `ranks`. Every rank has floor or ceil of kv_heads / ranks
// heads in a layer; which ranks have one more rotates. With equal rows and ranks that divide
// kv_heads, rank r has the r-th block of heads. INVALID_ARGUMENT when ranks is not in [1,
// kv_heads].
absl::StatusOr<HeadPlacement> PlaceHeads(std::span<const RowSpec> rows, int64_t kv_heads,
                                         int ranks);

// The rows of one rank by layer, for MakeKvLayout.
std::vector<std::vector<RowSpec>> RowsOfRank(const HeadPlacement& placement, int rank,
                                             std::span<const RowSpec> rows, int64_t kv_heads);

}  // namespace headgate
