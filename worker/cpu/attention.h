// Attention over paged rows: which keys each query sees, where they lie, and what is written back.
// The arithmetic is in the kernels. One step thread calls; items run on the pool's threads.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "kvstore/host_page_store.h"
#include "worker/backend.h"
#include "worker/cpu/aligned_buffer.h"
#include "worker/cpu/kernel_table.h"
#include "worker/cpu/thread_pool.h"

namespace headgate {

class Attention {
 public:
  Attention(const KernelTable& kernels, ThreadPool& pool);

  // Memory for the pages. RESOURCE_EXHAUSTED, or INVALID_ARGUMENT for fp16 pages, head_dim beyond
  // 1024 or an inconsistent layout.
  absl::Status CreatePages(const KvLayout& layout, uint32_t pages);

  // Backend::AttendAndAppend. REQUIRES: CreatePages succeeded with the store's layout.
  void Run(int64_t layer, const Batch& batch, const HostPageStore& store, Tensor qkv, int64_t heads,
           Tensor out);

 private:
  struct Call;

  // Some consecutive queries of one sequence and kv head.
  struct Item {
    size_t row_view = 0;
    size_t sequence = 0;
    int64_t head = 0;
    int64_t first = 0;  // query, counted from the chunk's front
    int64_t count = 0;
  };

  void PlanItems(const Call& call);
  void GrowScratch(int64_t rows_max);
  AttendState StateFor(int thread, int64_t rows) const;
  void Attend(const Call& call, const Item& item, int thread) const;
  void AttendKept(const Call& call, const RowView& row, AttendState& state) const;
  void AttendPositions(const Call& call, const Item& item, AttendState& state) const;
  // Asks for the pages of positions [base, end), at most a block of them.
  void PrefetchBlock(const RowView& row, int64_t base, int64_t end) const;
  void Append(const Call& call, size_t sequence, int64_t head) const;
  // Where the K (V: plus value_offset_) of a slot of a page begins.
  std::byte* Token(PageId page, int64_t slot) const;

  const KernelTable& kernels_;
  ThreadPool& pool_;
  AlignedBuffer pages_;
  int64_t page_tokens_ = 0;
  int64_t page_bytes_ = 0;
  int64_t token_bytes_ = 0;
  int64_t value_offset_ = 0;
  int64_t head_dim_ = 0;
  int64_t padded_dim_ = 0;
  DType dtype_ = DType::kF32;

  int64_t scratch_rows_ = 0;
  std::vector<AlignedBuffer> scratch_;  // one per thread
  std::vector<RowView> row_views_;      // [sequences, kv_heads] of the running call
  std::vector<Item> items_;             // of the running call
};

}  // namespace headgate
