// Matrices share blocks, never bytes, and outlive the allocator.
#include "worker/cpu/weight_memory.h"

#include <cstring>
#include <memory>
#include <vector>

#include "gtest/gtest.h"

namespace headgate {
namespace {

TEST(WeightMemoryTest, PiecesAreAlignedZeroedAndApart) {
  auto memory = std::make_unique<WeightMemory>();
  std::vector<std::shared_ptr<std::byte>> pieces;
  const std::vector<int64_t> sizes = {1, 64, 65, 3 << 20, 100, 5 << 20, 4 << 20, 4 << 20, 4 << 20};
  for (int64_t bytes : sizes) {
    pieces.push_back(memory->Take(bytes).value());
    EXPECT_EQ(reinterpret_cast<uintptr_t>(pieces.back().get()) % 64, 0u);
    for (int64_t i = 0; i < bytes; i += 61) EXPECT_EQ(pieces.back().get()[i], std::byte{0});
    std::memset(pieces.back().get(), static_cast<int>(pieces.size()), static_cast<size_t>(bytes));
  }
  memory.reset();
  for (size_t p = 0; p < pieces.size(); ++p) {
    for (int64_t i : {int64_t{0}, sizes[p] / 2, sizes[p] - 1}) {
      EXPECT_EQ(pieces[p].get()[i], static_cast<std::byte>(p + 1)) << p;
    }
  }
}

TEST(WeightMemoryTest, RefusesNegativeSizes) {
  WeightMemory memory;
  EXPECT_EQ(memory.Take(-1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(memory.Take(0).ok());
}

}  // namespace
}  // namespace headgate
