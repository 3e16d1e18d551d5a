// A page store with bytes behind it and a naive model beside it: every page slot holds the number
// (sequence, row, position) that was last written there, and what a query reads is compared with
// Vis spelled out position by position. Used by the tests of HostPageStore only.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"
#include "kvstore/host_page_store.h"

namespace headgate {

// A decision that depends on the position alone, as a gate's does; differs between rows.
inline bool KeepByHash(SequenceId sequence, int64_t layer, int64_t head, int64_t position) {
  uint64_t x = sequence * 31 + static_cast<uint64_t>(layer * 1009 + head * 101 + position);
  x = (x ^ (x >> 13)) * 0x9e3779b97f4a7c15u;
  return (x >> 40) % 100 < 40;
}

// Vis of query t by its definition (docs/contract.md), nothing shared with the code under test.
inline bool NaiveVisible(const RowSpec& row, int64_t i, int64_t t, int64_t page_tokens, bool keep) {
  if (row.head_class == HeadClass::kFull) return i <= t;
  if (i < row.sinks) return true;
  const int64_t first_page = std::max<int64_t>(0, t - row.window + 1) / page_tokens;
  return i / page_tokens >= first_page || (row.head_class == HeadClass::kGated && keep);
}

class StoreWorld {
 public:
  StoreWorld(KvLayout layout, uint32_t pages)
      : store_(*HostPageStore::Create(std::move(layout), pages)),
        cells_(pages * static_cast<size_t>(store_->layout().page_tokens)) {}

  HostPageStore& store() { return *store_; }
  const std::map<SequenceId, int64_t>& lengths() const { return lengths_; }

  void Add(SequenceId sequence) {
    ASSERT_TRUE(store_->AddSequence(sequence).ok());
    lengths_[sequence] = 0;
  }
  void Release(SequenceId sequence) {
    ASSERT_TRUE(store_->Release(sequence).ok());
    lengths_.erase(sequence);
  }
  void Clear() {
    store_->Clear();
    lengths_.clear();
  }

  // Attends and writes every row of every chunk as a backend does; `chunks` are of a begun step.
  void RunKernels(const std::vector<Chunk>& chunks) {
    for (const Chunk& chunk : chunks) {
      ForEachRow([&](int64_t layer, int64_t head) {
        const RowView view = store_->Row(chunk.sequence, layer, head);
        ASSERT_EQ(view.length, chunk.position);
        Attend(chunk, layer, head, view);
        Write(chunk, layer, head, view);
      });
    }
  }

  void Commit(const std::vector<Chunk>& chunks) {
    for (const TokenCopy& copy : store_->CommitKept(KeepByHash)) {
      At(copy.to_page, copy.to_slot) = At(copy.from_page, copy.from_slot);
    }
    for (const Chunk& chunk : chunks) lengths_[chunk.sequence] += chunk.length();
  }

  // Pages that a sequence should hold, counted naively.
  int64_t ExpectedPages(SequenceId sequence) const {
    const int64_t length = lengths_.at(sequence);
    const KvLayout& layout = store_->layout();
    int64_t pages = 0;
    for (int64_t layer = 0; layer < layout.layers(); ++layer) {
      for (int64_t head = 0; head < layout.kv_heads(layer); ++head) {
        const RowSpec& row = layout.row(layer, head);
        std::set<int64_t> whole;  // pages that hold their own positions
        int64_t kept = 0;
        for (int64_t i = 0; i < length; ++i) {
          const bool keep = KeepByHash(sequence, layer, head, i);
          if (row.head_class == HeadClass::kStreaming ||
              NaiveVisible(row, i, length, layout.page_tokens, false)) {
            whole.insert(i / layout.page_tokens);
          } else if (keep) {
            ++kept;
          }
        }
        int64_t held = static_cast<int64_t>(whole.size());
        if (row.head_class == HeadClass::kStreaming) {
          held = std::min(held, (row.sinks + row.window) / layout.page_tokens + 1);
        }
        pages += held + (kept + layout.page_tokens - 1) / layout.page_tokens;
      }
    }
    return pages;
  }

  template <typename Body>
  void ForEachRow(Body body) {
    for (int64_t layer = 0; layer < store_->layout().layers(); ++layer) {
      for (int64_t head = 0; head < store_->layout().kv_heads(layer); ++head) body(layer, head);
    }
  }

 private:
  struct Cell {
    SequenceId sequence = 0;
    int64_t row = -1;
    int64_t position = -1;
  };

  Cell& At(PageId page, int64_t slot) {
    return cells_[static_cast<size_t>(page * store_->layout().page_tokens + slot)];
  }

  // Every query of the chunk reads exactly Vis from pages and the chunk itself.
  void Attend(const Chunk& chunk, int64_t layer, int64_t head, const RowView& view) {
    const int64_t row = store_->layout().row_index(layer, head);
    const auto read = [&](PageId page, int64_t slot) {
      const Cell& cell = At(page, slot);
      EXPECT_EQ(cell.sequence, chunk.sequence);
      EXPECT_EQ(cell.row, row);
      return cell.position;
    };
    std::set<int64_t> stored;  // positions that the pages hold for this step
    for (int64_t i = 0; i < view.kept_tokens; ++i) {
      const PageId page = view.kept[static_cast<size_t>(i / view.page_tokens)];
      stored.insert(stored.end(), read(page, i % view.page_tokens));
    }
    ASSERT_EQ(static_cast<int64_t>(stored.size()), view.kept_tokens) << "kept twice";
    for (int64_t i = 0; i < view.length; ++i) {
      if (!InSinksOrWindow(view.spec, i, view.length, view.page_tokens)) continue;
      ASSERT_EQ(read(view.PageAt(i), i % view.page_tokens), i);
      stored.insert(i);
    }
    for (int64_t t = chunk.position; t < chunk.position + chunk.length(); ++t) {
      for (int64_t i = 0; i <= t; ++i) {
        const bool keep = KeepByHash(chunk.sequence, layer, head, i);
        const bool visible = NaiveVisible(view.spec, i, t, view.page_tokens, keep);
        const bool readable = i >= view.length || stored.contains(i);
        ASSERT_TRUE(readable || !visible) << "query " << t << " cannot read " << i;
        const bool by_first_query = t == view.length && i < t;
        ASSERT_TRUE(!by_first_query || visible == readable) << i << " is not given up";
      }
    }
  }

  void Write(const Chunk& chunk, int64_t layer, int64_t head, const RowView& view) {
    const int64_t end = chunk.position + chunk.length();
    for (int64_t i = chunk.position; i < end; ++i) {
      const bool seen_later = view.spec.head_class != HeadClass::kStreaming ||
                              InSinksOrWindow(view.spec, i, end, view.page_tokens);
      if (!seen_later) continue;
      ASSERT_LT(view.Slot(i), static_cast<int64_t>(view.table.size()));
      At(view.PageAt(i), i % view.page_tokens) = {chunk.sequence,
                                                  store_->layout().row_index(layer, head), i};
    }
  }

  std::unique_ptr<HostPageStore> store_;
  std::vector<Cell> cells_;
  std::map<SequenceId, int64_t> lengths_;
};

inline Chunk MakeChunk(SequenceId sequence, int64_t position, int64_t length) {
  Chunk chunk;
  chunk.sequence = sequence;
  chunk.position = position;
  chunk.tokens.assign(static_cast<size_t>(length), 7);
  return chunk;
}

}  // namespace headgate
