// Which part of a model one rank of a tensor-parallel group holds (Shoeybi et al., "Megatron-LM",
// 2019, section 3: columns of the first product, rows of the second). Plain data; any thread.
#pragma once

#include <cstdint>
#include <vector>

#include "base/model_shape.h"
#include "kvstore/head_placement.h"

namespace headgate {

struct Span {
  int64_t begin = 0;
  int64_t end = 0;

  int64_t size() const { return end - begin; }
  bool operator==(const Span&) const = default;
};

// Part `part` of `total` cut into `parts` pieces. Cuts fall on multiples of `unit` where there are
// at least `parts` units, else anywhere; sizes differ by at most one unit (and the odd end).
Span SplitEvenly(int64_t total, int64_t parts, int64_t part, int64_t unit);

// The query heads of a kv head go with it.
struct RankShard {
  int rank = 0;
  int ranks = 1;
  std::vector<std::vector<int64_t>> kv_heads;  // [layers]: the model's heads, in local order
  Span intermediate;                           // columns of gate and up, rows (inputs) of down
  std::vector<Span> vocab;                     // [ranks]: rows of the output head

  Span own_vocab() const { return vocab[static_cast<size_t>(rank)]; }
};

// REQUIRES: `placement` is of this model and has `ranks` ranks.
RankShard MakeRankShard(const ModelShape& shape, const HeadPlacement& placement, int rank,
                        int ranks);

}  // namespace headgate
