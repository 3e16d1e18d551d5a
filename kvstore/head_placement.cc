#include "kvstore/head_placement.h"

#include <algorithm>
#include <tuple>

#include "absl/strings/str_cat.h"
#include "base/check.h"

namespace headgate {
namespace {

struct RankLoad {
  int64_t heads = 0;      // of the layers placed so far
  int64_t retrieval = 0;  // of them
  // Of the layer being placed:
  int64_t layer_heads = 0;
  int64_t layer_retrieval = 0;
};

bool IsRetrieval(const RowSpec& row) { return row.head_class != HeadClass::kStreaming; }

// Decides how many heads, and how many retrieval heads, each rank has in the next layer.
void PlanLayer(int64_t kv_heads, int64_t retrieval, std::vector<RankLoad>& ranks) {
  const auto count = static_cast<int64_t>(ranks.size());
  for (RankLoad& rank : ranks) {
    rank.layer_heads = kv_heads / count;
    rank.layer_retrieval = 0;
  }
  // min_element takes the first of equals: the lowest rank.
  for (int64_t extra = kv_heads % count; extra > 0; --extra) {
    const auto key = [](const RankLoad& rank) {
      return std::tuple(rank.layer_heads, rank.heads, rank.retrieval);
    };
    const auto least = [&key](const RankLoad& a, const RankLoad& b) { return key(a) < key(b); };
    ++std::min_element(ranks.begin(), ranks.end(), least)->layer_heads;
  }
  for (; retrieval > 0; --retrieval) {
    const auto key = [](const RankLoad& rank) {
      const bool taken = rank.layer_retrieval == rank.layer_heads;
      return std::tuple(taken, rank.layer_retrieval, rank.retrieval, rank.layer_heads);
    };
    const auto least = [&key](const RankLoad& a, const RankLoad& b) { return key(a) < key(b); };
    RankLoad& rank = *std::min_element(ranks.begin(), ranks.end(), least);
    ++rank.layer_retrieval;
  }
  for (RankLoad& rank : ranks) {
    rank.heads += rank.layer_heads;
    rank.retrieval += rank.layer_retrieval;
  }
}

// Gives each rank its counts, lowest heads first.
std::vector<std::vector<int64_t>> DealLayer(std::span<const RowSpec> rows,
                                            const std::vector<RankLoad>& ranks) {
  std::vector<int64_t> retrieval;
  std::vector<int64_t> streaming;
  for (size_t head = 0; head < rows.size(); ++head) {
    (IsRetrieval(rows[head]) ? retrieval : streaming).push_back(static_cast<int64_t>(head));
  }
  std::vector<std::vector<int64_t>> heads(ranks.size());
  auto next_retrieval = retrieval.begin();
  auto next_streaming = streaming.begin();
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const int64_t mine = ranks[rank].layer_retrieval;
    const int64_t others = ranks[rank].layer_heads - mine;
    heads[rank].insert(heads[rank].end(), next_retrieval, next_retrieval + mine);
    heads[rank].insert(heads[rank].end(), next_streaming, next_streaming + others);
    std::sort(heads[rank].begin(), heads[rank].end());
    next_retrieval += mine;
    next_streaming += others;
  }
  CHECK(next_retrieval == retrieval.end() && next_streaming == streaming.end());
  return heads;
}

}  // namespace

absl::StatusOr<HeadPlacement> PlaceHeads(std::span<const RowSpec> rows, int64_t kv_heads,
                                         int ranks) {
  if (!(1 <= ranks && ranks <= kv_heads)) {
    return absl::InvalidArgumentError(
        absl::StrCat("tensor parallel over ", ranks, " ranks: the model has ", kv_heads,
                     " kv heads a layer, use 1 to ", kv_heads, " ranks"));
  }
  if (rows.size() % static_cast<size_t>(kv_heads) != 0) {
    return absl::InvalidArgumentError(absl::StrCat(
        "head placement: ", rows.size(), " rows are not a multiple of ", kv_heads, " kv heads"));
  }
  HeadPlacement placement;
  std::vector<RankLoad> loads(static_cast<size_t>(ranks));
  for (; !rows.empty(); rows = rows.subspan(static_cast<size_t>(kv_heads))) {
    const std::span<const RowSpec> layer = rows.first(static_cast<size_t>(kv_heads));
    PlanLayer(kv_heads, std::count_if(layer.begin(), layer.end(), IsRetrieval), loads);
    placement.heads.push_back(DealLayer(layer, loads));
  }
  return placement;
}

std::vector<std::vector<RowSpec>> RowsOfRank(const HeadPlacement& placement, int rank,
                                             std::span<const RowSpec> rows, int64_t kv_heads) {
  std::vector<std::vector<RowSpec>> by_layer;
  for (int64_t layer = 0; layer < placement.layers(); ++layer) {
    std::vector<RowSpec>& mine = by_layer.emplace_back();
    for (const int64_t head : placement.at(layer, rank)) {
      mine.push_back(rows[static_cast<size_t>(layer * kv_heads + head)]);
    }
  }
  return by_layer;
}

}  // namespace headgate
