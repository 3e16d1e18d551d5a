// Random steps against the naive model of store_world.h, and against the ledger of the other side.
#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kvstore/host_page_store.h"
#include "kvstore/page_ledger.h"
#include "tests/unit/kvstore/store_world.h"

namespace headgate {
namespace {

class Dice {
 public:
  explicit Dice(uint64_t seed) : random_(seed) {}
  int64_t Between(int64_t least, int64_t most) {
    return least + static_cast<int64_t>(random_() % static_cast<uint64_t>(most - least + 1));
  }
  bool OneIn(int64_t n) { return Between(1, n) == 1; }

 private:
  std::mt19937_64 random_;
};

KvLayout RandomLayout(Dice& dice) {
  const int64_t page_tokens = int64_t{1} << dice.Between(0, 4);
  std::vector<RowSpec> specs = {{}};
  for (int i = 0; i < 4; ++i) {
    specs.push_back({i % 2 == 0 ? HeadClass::kStreaming : HeadClass::kGated,
                     dice.Between(0, 2) * page_tokens, dice.Between(1, 4) * page_tokens});
  }
  std::vector<std::vector<RowSpec>> layers(static_cast<size_t>(dice.Between(1, 3)));
  for (std::vector<RowSpec>& rows : layers) {
    for (int64_t heads = dice.Between(0, 3); heads > 0; --heads) {
      rows.push_back(specs[static_cast<size_t>(dice.Between(0, 4))]);
    }
  }
  return MakeKvLayout(page_tokens, 4, DType::kF32, layers);
}

GroupShape ShapeOf(const KvLayout& layout, uint32_t pages) {
  GroupShape shape;
  shape.page_tokens = layout.page_tokens;
  shape.ranks.push_back({.pages_total = pages, .page_bytes = 1, .rows = CountRowGroups(layout)});
  return shape;
}

// One random history. Checks the store, its bytes and the ledger after every operation.
class History {
 public:
  History(uint64_t seed, int64_t length_max)
      : dice_(seed),
        length_max_(length_max),
        layout_(RandomLayout(dice_)),
        pages_(static_cast<uint32_t>(dice_.Between(1, 400))),
        world_(layout_, pages_),
        ledger_(*PageLedger::Create(ShapeOf(layout_, pages_))) {}

  void Run(int operations) {
    for (int i = 0; i < operations && !::testing::Test::HasFatalFailure(); ++i) {
      const int64_t pick = dice_.Between(0, 99);
      if (pick < 20 && world_.lengths().size() < 8) {
        world_.Add(++last_sequence_);
      } else if (pick < 90) {
        Step();
      } else if (pick < 99) {
        ReleaseOne();
      } else {
        ClearAll();
      }
      Check();
    }
    while (!world_.lengths().empty()) ReleaseOne();
    ledger_.Fence(step_ + 1);
    Check();
    EXPECT_EQ(ledger_.Free(0), pages_);
    EXPECT_EQ(world_.store().Stats().free, pages_);
  }

 private:
  void Step() {
    std::vector<Chunk> chunks;
    PageLedger::Scratch scratch(ledger_);
    for (const auto& [sequence, length] : world_.lengths()) {
      if (length >= length_max_ || dice_.OneIn(3)) continue;
      const int64_t chunk = dice_.OneIn(2) ? 1 : dice_.Between(1, 60);
      const auto known = reserved_.find(sequence);
      const int64_t before = known == reserved_.end() ? 0 : known->second;
      const int64_t tokens = std::max(length + chunk, before);
      if (!scratch.TryReserve(sequence, tokens)) continue;
      if (dice_.OneIn(10)) {  // the planner changed its mind
        scratch.Cancel(sequence);
        continue;
      }
      reserved_[sequence] = tokens;
      chunks.push_back(MakeChunk(sequence, length, chunk));
      if (chunk == 1 && dice_.OneIn(2)) chunks.back().tokens.clear();  // a decode
    }
    ledger_.Commit(scratch);
    ++step_;
    const PageStats before = world_.store().Stats();
    const absl::Status begun = world_.store().BeginStep(chunks);
    ASSERT_TRUE(begun.ok()) << "the ledger promised: " << begun;
    ASSERT_TRUE(world_.store().CheckIntegrity().ok()) << world_.store().CheckIntegrity();
    if (dice_.OneIn(8)) {
      world_.store().Abort();
      EXPECT_EQ(world_.store().Stats().referenced(), before.referenced());
      return;
    }
    world_.RunKernels(chunks);
    world_.Commit(chunks);
    for (const Chunk& chunk : chunks) {
      const std::vector<uint32_t> held = {world_.store().PagesHeld(chunk.sequence)};
      const absl::Status settled =
          ledger_.Settle(chunk.sequence, chunk.position + chunk.length(), held);
      ASSERT_TRUE(settled.ok()) << settled;
    }
    if (dice_.OneIn(2)) ledger_.Fence(step_);
  }

  void ReleaseOne() {
    if (world_.lengths().empty()) return;
    auto it = world_.lengths().begin();
    std::advance(it, dice_.Between(0, static_cast<int64_t>(world_.lengths().size()) - 1));
    ReleaseInLedger(it->first);
    world_.Release(it->first);
  }

  void ReleaseInLedger(SequenceId sequence) {
    // A sequence that was never reserved for is not known to the ledger.
    EXPECT_EQ(ledger_.ReleaseAt(sequence, step_ + 1).ok(), reserved_.contains(sequence));
    reserved_.erase(sequence);
  }

  void ClearAll() {
    world_.Clear();
    reserved_.clear();
    ledger_ = *PageLedger::Create(ShapeOf(layout_, pages_));
    step_ = 0;
  }

  void Check() {
    HostPageStore& store = world_.store();
    ASSERT_TRUE(store.CheckIntegrity().ok()) << store.CheckIntegrity();
    ASSERT_TRUE(ledger_.CheckIntegrity().ok()) << ledger_.CheckIntegrity();
    const PageStats stats = store.Stats();
    ASSERT_EQ(stats.total, stats.free + stats.referenced() + stats.pending_free);
    ASSERT_EQ(ledger_.Total(0),
              ledger_.Free(0) + ledger_.Held(0) + ledger_.Reserved(0) + ledger_.PendingFree(0));
    ASSERT_EQ(ledger_.Held(0), stats.referenced());
    std::set<PageId> seen;
    for (const auto& [sequence, length] : world_.lengths()) {
      ASSERT_EQ(store.Length(sequence), length);
      ASSERT_EQ(store.PagesHeld(sequence), world_.ExpectedPages(sequence));
      ASSERT_LE(store.PagesHeld(sequence), ledger_.WorstCase(0, length));
      world_.ForEachRow([&](int64_t layer, int64_t head) {
        const RowView view = store.Row(sequence, layer, head);
        for (const PageId page : view.table) ASSERT_TRUE(seen.insert(page).second) << page;
        for (const PageId page : view.kept) ASSERT_TRUE(seen.insert(page).second) << page;
      });
    }
    ASSERT_EQ(seen.size(), stats.referenced());
  }

  Dice dice_;
  int64_t length_max_;
  KvLayout layout_;
  uint32_t pages_;
  StoreWorld world_;
  PageLedger ledger_;
  std::map<SequenceId, int64_t> reserved_;
  SequenceId last_sequence_ = 0;
  StepId step_ = 0;
};

TEST(PageStoreProperty, RandomHistoriesMatchTheNaiveModel) {
  for (uint64_t seed = 1; seed <= 400; ++seed) {
    SCOPED_TRACE(seed);
    History(seed, 250).Run(60);
    if (HasFatalFailure()) return;
  }
}

TEST(PageStoreProperty, LongSequencesReadExactlyVis) {
  for (uint64_t seed = 1000; seed < 1020; ++seed) {
    SCOPED_TRACE(seed);
    History(seed, 900).Run(150);
    if (HasFatalFailure()) return;
  }
}

TEST(PageStoreProperty, TenThousandSequencesLeaveNothingBehind) {
  Dice dice(7);
  const RowSpec streaming{HeadClass::kStreaming, 16, 32};
  const RowSpec gated{HeadClass::kGated, 16, 32};
  auto store = *HostPageStore::Create(
      MakeKvLayout(16, 8, DType::kBF16, {{{}, streaming}, {gated}, {streaming, {}, gated}}), 4000);
  std::vector<SequenceId> live;
  int64_t created = 0;
  int64_t destroyed = 0;
  while (destroyed < 10'000) {
    if (created < 10'000 && live.size() < 64) {
      live.push_back(static_cast<SequenceId>(++created));
      ASSERT_TRUE(store->AddSequence(live.back()).ok());
    }
    std::vector<Chunk> chunks;
    for (const SequenceId sequence : live) {
      if (dice.OneIn(3))
        chunks.push_back(MakeChunk(sequence, store->Length(sequence), dice.Between(1, 40)));
    }
    if (store->BeginStep(chunks).ok()) {
      if (dice.OneIn(20)) {
        store->Abort();
      } else {
        store->CommitKept(KeepByHash);
      }
    }
    while (!live.empty() && (dice.OneIn(2) || store->Stats().free < 1000)) {
      const size_t which =
          static_cast<size_t>(dice.Between(0, static_cast<int64_t>(live.size()) - 1));
      ASSERT_TRUE(store->Release(live[which]).ok());
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(which));
      ++destroyed;
    }
    if (destroyed % 500 == 0) {
      ASSERT_TRUE(store->CheckIntegrity().ok());
    }
  }
  EXPECT_EQ(created, destroyed);
  EXPECT_EQ(store->Stats().free, 4000u);
  EXPECT_EQ(store->Stats().referenced(), 0u);
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

}  // namespace
}  // namespace headgate
