// The device's page tables under random growth and release: every page referenced once, and the
// host's counts those of the host page store for the same steps.
#include <map>

#include "kvstore/host_page_store.h"
#include "tests/kernel/cuda_rig.h"

namespace headgate {
namespace {

KvLayout Layout() {
  const RowSpec full, small{HeadClass::kStreaming, 4, 8}, large{HeadClass::kStreaming, 8, 64};
  return MakeKvLayout(4, 8, DType::kBF16, {{full, small}, {large, full, full}, {}, {small}});
}

Chunk NextChunk(const PageStore& store, SequenceId id, int64_t length) {
  return {id, store.Length(id), std::vector<TokenId>(static_cast<size_t>(length)), false, {}};
}

TEST(GpuPageStoreTest, CountsAndTablesStayRightUnderRandomSteps) {
  constexpr uint32_t kPages = 9000;
  const auto gpu = NewCudaBackend();
  const auto device = gpu->CreatePages(Layout(), kPages, 5000).value();
  const auto host = HostPageStore::Create(Layout(), kPages).value();
  std::mt19937 random(11);
  std::vector<SequenceId> live;
  SequenceId next = 1;
  int refused = 0;
  for (int step = 0; step < 400; ++step) {
    while (!live.empty() && random() % 8 == 0) {
      const size_t i = random() % live.size();
      ASSERT_TRUE(device->Release(live[i]).ok());
      ASSERT_TRUE(host->Release(live[i]).ok());
      live.erase(live.begin() + static_cast<std::ptrdiff_t>(i));
    }
    while (live.size() < 12 && random() % 2 == 0) {
      ASSERT_TRUE(device->AddSequence(next).ok());
      ASSERT_TRUE(host->AddSequence(next).ok());
      live.push_back(next++);
    }
    std::vector<Chunk> chunks;
    for (const SequenceId id : live) {
      const int64_t most = random() % 4 == 0 ? 600 : 3;
      if (host->Length(id) + most > 4000 || random() % 5 == 0) continue;
      chunks.push_back(NextChunk(*host, id, 1 + static_cast<int64_t>(random() % most)));
    }
    const absl::Status begun = device->BeginStep(chunks);
    ASSERT_EQ(begun.code(), host->BeginStep(chunks).code()) << begun;
    if (!begun.ok()) {
      ++refused;
      continue;
    }
    const bool commit = random() % 6 != 0;
    commit ? device->Commit() : device->Abort();
    commit ? host->Commit() : host->Abort();
    ASSERT_EQ(device->Stats(), host->Stats()) << "step " << step;
    for (const SequenceId id : live) ASSERT_EQ(device->PagesHeld(id), host->PagesHeld(id));
    if (step % 5 == 0) {
      ASSERT_TRUE(device->CheckIntegrity().ok()) << device->CheckIntegrity();
    }
  }
  EXPECT_GT(refused, 0);  // the pool was full at times
  for (const SequenceId id : live) ASSERT_TRUE(device->Release(id).ok());
  EXPECT_TRUE(device->CheckIntegrity().ok());
  EXPECT_EQ(device->Stats().free, kPages);
  device->Clear();
  EXPECT_TRUE(device->CheckIntegrity().ok());
}

TEST(GpuPageStoreTest, RefusesWhatItCannotHold) {
  const auto gpu = NewCudaBackend();
  const RowSpec gated{HeadClass::kGated, 4, 8};
  EXPECT_EQ(gpu->CreatePages(MakeKvLayout(4, 8, DType::kBF16, {{gated}}), 10, 100).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gpu->CreatePages(MakeKvLayout(4, 8, DType::kF32, {{{}}}), 10, 100).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(gpu->CreatePages(MakeKvLayout(16, 128, DType::kBF16, {{{}}}), 200'000'000, 100)
                .status()
                .code(),
            absl::StatusCode::kResourceExhausted);  // 1.6 TB
  const auto store = gpu->CreatePages(MakeKvLayout(4, 8, DType::kBF16, {{{}}}), 10, 100).value();
  ASSERT_TRUE(store->AddSequence(1).ok());
  EXPECT_EQ(store->AddSequence(1).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(store->Release(2).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(store->BeginStep(std::vector{NextChunk(*store, 1, 41)}).code(),
            absl::StatusCode::kResourceExhausted);
  ASSERT_EQ(store->sequences_max(), 10);
  for (SequenceId id = 2; id <= 10; ++id) ASSERT_TRUE(store->AddSequence(id).ok());
  EXPECT_EQ(store->AddSequence(11).code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(store->Release(1).ok());
  EXPECT_TRUE(store->AddSequence(11).ok());  // its place is free at once
  EXPECT_TRUE(store->CheckIntegrity().ok());
}

}  // namespace
}  // namespace headgate
