// A PageStore whose tables lie in host memory, for devices that read it there. Rows of every class.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/ids.h"
#include "base/step.h"
#include "kvstore/kv_layout.h"
#include "kvstore/page_store.h"
#include "kvstore/row_table.h"

namespace headgate {

class HostPageStore final : public PageStore {
 public:
  // Whether a gated row keeps the token at `position`, which has just left its window. `head`
  // counts this rank's kv heads of the layer.
  using Keep =
      absl::FunctionRef<bool(SequenceId sequence, int64_t layer, int64_t head, int64_t position)>;

  // INVALID_ARGUMENT when the layout is inconsistent (rows, windows not multiples of a page, ...).
  static absl::StatusOr<std::unique_ptr<HostPageStore>> Create(KvLayout layout,
                                                               uint32_t pages_total);
  ~HostPageStore() override;

  int64_t sequences_max() const override { return kSequencesUnlimited; }
  absl::Status AddSequence(SequenceId sequence) override;
  absl::Status BeginStep(std::span<const Chunk> chunks) override;
  // Gated rows keep every token.
  void Commit() override;
  void Abort() override;
  absl::Status Release(SequenceId sequence) override;
  void Clear() override;
  uint32_t PagesHeld(SequenceId sequence) const override;
  int64_t Length(SequenceId sequence) const override;
  PageStats Stats() const override;
  const KvLayout& layout() const override;
  absl::Status CheckIntegrity() const override;

  // As Commit; gated rows keep the tokens that `keep` names. The copies, for gated rows only, must
  // run in order before the next step writes; valid until the next BeginStep.
  std::span<const TokenCopy> CommitKept(Keep keep);

  // The row as it was before the step; its table already has the slots that the step writes.
  // REQUIRES: the sequence is known.
  RowView Row(SequenceId sequence, int64_t layer, int64_t head) const;

 private:
  struct State;
  explicit HostPageStore(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace headgate
