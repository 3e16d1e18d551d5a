// A weight matrix of the CPU backend: panels in memory (panel.h), made from a HostMatrix. Immutable
// once made; any thread may read it. One matrix serves both as embedding table and as lm_head.
#pragma once

#include <memory>
#include <span>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/backend.h"
#include "worker/cpu/panel.h"
#include "worker/cpu/thread_pool.h"
#include "worker/cpu/weight_memory.h"

namespace headgate {

class PackedPanels final : public PackedMatrix {
 public:
  // INVALID_ARGUMENT: an empty or inconsistent matrix, int formats whose inputs are no multiple of
  // 32, weights that are not finite or too large for fp16 scales. RESOURCE_EXHAUSTED: no memory.
  static absl::StatusOr<std::unique_ptr<PackedPanels>> Create(const HostMatrix& matrix,
                                                              WeightFormat format, ThreadPool& pool,
                                                              WeightMemory& memory);

  int64_t outputs() const override { return view_.outputs; }
  int64_t inputs() const override { return view_.inputs; }
  int64_t bytes() const override { return view_.stride * view_.panels(); }

  const PanelView& view() const { return view_; }

  // The weights of one output as floats. out has inputs() values. REQUIRES: row < outputs().
  void ReadRow(int64_t row, std::span<float> out) const;

 private:
  PackedPanels(std::shared_ptr<std::byte> memory, PanelView view)
      : memory_(std::move(memory)), view_(view) {}

  std::shared_ptr<std::byte> memory_;
  PanelView view_;
};

}  // namespace headgate
