#include "worker/model/shard.h"

#include <algorithm>

namespace headgate {
namespace {

// Quantised weights have groups of 32 inputs: slices that end on a group stay as they were.
constexpr int64_t kSliceUnit = 32;

}  // namespace

Span SplitEvenly(int64_t total, int64_t parts, int64_t part, int64_t unit) {
  const int64_t units = (total + unit - 1) / unit;
  if (units < parts) return {total * part / parts, total * (part + 1) / parts};
  return {std::min(total, units * part / parts * unit),
          std::min(total, units * (part + 1) / parts * unit)};
}

RankShard MakeRankShard(const ModelShape& shape, const HeadPlacement& placement, int rank,
                        int ranks) {
  RankShard shard;
  shard.rank = rank;
  shard.ranks = ranks;
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    shard.kv_heads.push_back(placement.at(layer, rank));
  }
  shard.intermediate = SplitEvenly(shape.intermediate, ranks, rank, kSliceUnit);
  for (int r = 0; r < ranks; ++r)
    shard.vocab.push_back(SplitEvenly(shape.vocab, ranks, r, kSliceUnit));
  return shard;
}

}  // namespace headgate
