// See row_preparation.h.
#include "worker/cpu/row_preparation.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace headgate {

PreparedRows RowPreparation::Prepare(Tensor x, const PanelView& weights) {
  PreparedRows rows;
  rows.x = x.f32();
  rows.ldx = x.cols;
  rows.rows = x.rows;
  rows.groups = weights.groups;
  rows.grouped = weights.grouped();
  if (weights.format == PanelFormat::kInt4) {
    const size_t sums = static_cast<size_t>(x.rows * weights.groups);
    if (sums_.size() < sums) sums_.resize(sums);
    rows.sums = sums_.data();
  }
  if (tiles_ && weights.format != PanelFormat::kF32) {
    // 16 rows more than there are: few rows are spread over a whole tile.
    const int64_t bytes = (x.rows + 16) * weights.groups * kGroupInputs * 2 * 2;
    if (split_.bytes() < bytes) {
      absl::StatusOr<AlignedBuffer> grown = AlignedBuffer::Create(bytes);
      CHECK(grown.ok()) << grown.status().ToString();
      split_ = *std::move(grown);
    }
    rows.split = split_.as<uint16_t>();
  }
  if (rows.sums == nullptr && rows.split == nullptr) return rows;
  constexpr int64_t kStep = 16;  // rows of a tile
  pool_.Run((x.rows + kStep - 1) / kStep, [&](int64_t item, int) {
    kernels_.prepare(rows, item * kStep, std::min(x.rows, (item + 1) * kStep));
  });
  return rows;
}

}  // namespace headgate
