// A PageStore whose tables lie in device memory. The host holds lengths and counts; pages are taken
// and given back by kernels, in stream order. Full and streaming rows: how many pages these hold
// depends on lengths alone, so the host's counts are exact without asking the device.
//
// The worker's step thread owns it.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "kvstore/page_store.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/device/upload_ring.h"
#include "worker/cuda/pages/page_tables.h"

namespace headgate {

class DevicePageStore final : public PageStore {
 public:
  // RESOURCE_EXHAUSTED when device memory lacks, INVALID_ARGUMENT for gated rows or a broken
  // layout. `uploads` and `stream` must outlive the store.
  static absl::StatusOr<std::unique_ptr<DevicePageStore>> Create(const KvLayout& layout,
                                                                 uint32_t pages_total,
                                                                 int64_t positions_max,
                                                                 UploadRing& uploads,
                                                                 cudaStream_t stream);

  int64_t sequences_max() const override { return tables_.places; }
  absl::Status AddSequence(SequenceId sequence) override;
  absl::Status BeginStep(std::span<const Chunk> chunks) override;
  void Commit() override;
  void Abort() override;
  absl::Status Release(SequenceId sequence) override;
  void Clear() override;
  uint32_t PagesHeld(SequenceId sequence) const override;
  int64_t Length(SequenceId sequence) const override;
  PageStats Stats() const override;
  const KvLayout& layout() const override { return layout_; }
  absl::Status CheckIntegrity() const override;

  // The tables, after everything above that was called before the launch.
  const PageTables& tables() const { return tables_; }
  // REQUIRES: the sequence is known.
  int32_t Place(SequenceId sequence) const { return Find(sequence).place; }

 private:
  struct Entry {
    int32_t place = 0;
    int64_t length = 0;
    int64_t writing = 0;  // length after the begun step
  };
  using ByClass = std::array<int64_t, 3>;  // pages, by HeadClass

  DevicePageStore(const KvLayout& layout, UploadRing& uploads, cudaStream_t stream);

  absl::Status Allocate(uint32_t pages_total, int64_t positions_max);
  absl::Status OpenStep(std::span<const Chunk> chunks);
  void CloseStep();
  const Entry& Find(SequenceId sequence) const;
  // Pages of a sequence of `length` positions.
  ByClass Held(int64_t length) const;
  void Hold(int64_t from, int64_t to);
  // Sends the length changes to the device.
  void Change(std::span<const LengthChange> changes) const;

  const KvLayout layout_;
  const std::vector<RowGroup> groups_;
  const cudaStream_t stream_;
  UploadRing& uploads_;

  CudaBuffer memory_;  // everything that tables_ points to
  CudaBuffer check_;   // scratch of CheckIntegrity
  PageTables tables_;

  absl::flat_hash_map<SequenceId, Entry> sequences_;
  std::vector<int32_t> free_places_;
  std::vector<Entry*> step_;            // entries of the begun step
  std::vector<LengthChange> releases_;  // since the last BeginStep
  bool begun_ = false;

  ByClass held_ = {};
  int64_t free_ = 0;
  int64_t peak_referenced_ = 0;
  uint64_t freed_by_policy_ = 0;
  uint64_t freed_by_release_ = 0;
};

}  // namespace headgate
