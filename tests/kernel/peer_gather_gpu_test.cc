// Columns of ranks side by side, in processes of their own.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/bench/gpu_ranks.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/group/peer_group.h"

namespace headgate {
namespace {

constexpr int64_t kColsMax = 1000;
constexpr int64_t kRowsMax = 7;

float ValueOf(int rank, int round, int64_t row, int64_t col) {
  return static_cast<float>(rank * 64 + round * 16 + row) + static_cast<float>(col) / 1024.0f;
}

// What a rank sends of a value that looks like an empty cell is another NaN.
const float kLooksEmpty = std::bit_cast<float>(0xffffffffu);

class Rank {
 public:
  explicit Rank(Collective& peers) : peers_(peers) {}

  absl::Status Start(const PeerGroupOptions& options) {
    ASSIGN_OR_RETURN(own_, CudaBuffer::Create(MemoryPlace::kDevice, kRowsMax * kColsMax * 4));
    ASSIGN_OR_RETURN(
        all_, CudaBuffer::Create(MemoryPlace::kDevice, peers_.size() * kRowsMax * kColsMax * 4));
    ASSIGN_OR_RETURN(group_, PeerGroup::Meet(peers_, nullptr, inbox_, options));
    return absl::OkStatus();
  }

  absl::Status Gather(int round, int64_t rows, int64_t cols) {
    std::vector<float> own;
    for (int64_t row = 0; row < rows; ++row) {
      for (int64_t col = 0; col < cols; ++col) {
        own.push_back(ValueOf(peers_.rank(), round, row, col));
      }
    }
    own.back() = kLooksEmpty;
    RETURN_IF_ERROR(
        CudaStatus(cudaMemcpy(own_.data(), own.data(), own.size() * 4, cudaMemcpyDefault), "own"));
    const std::vector<int64_t> widths(static_cast<size_t>(peers_.size()), cols);
    const Tensor mine{own_.data(), DType::kF32, rows, cols};
    if (!group_->TakesColumns(mine, widths)) return absl::InternalError("not taken");
    RETURN_IF_ERROR(group_->GatherColumns(mine, widths,
                                          {all_.data(), DType::kF32, rows, cols * peers_.size()}));
    return Check(round, rows, cols);
  }

 private:
  absl::Status Check(int round, int64_t rows, int64_t cols) {
    std::vector<float> all(static_cast<size_t>(rows * cols * peers_.size()));
    RETURN_IF_ERROR(
        CudaStatus(cudaMemcpy(all.data(), all_.data(), all.size() * 4, cudaMemcpyDefault), "all"));
    RETURN_IF_ERROR(group_->Check());
    auto got = all.begin();
    for (int64_t row = 0; row < rows; ++row) {
      for (int rank = 0; rank < peers_.size(); ++rank) {
        for (int64_t col = 0; col < cols; ++col, ++got) {
          const bool nan = row + 1 == rows && col + 1 == cols;
          if (nan ? *got != *got : *got == ValueOf(rank, round, row, col)) continue;
          return absl::InternalError(absl::StrCat("round ", round, ", ", rows, " x ", cols,
                                                  ": row ", row, ", rank ", rank, ", column ", col,
                                                  ": ", *got));
        }
      }
    }
    return absl::OkStatus();
  }

  Collective& peers_;
  CudaBuffer own_, all_, inbox_;
  std::unique_ptr<PeerGroup> group_;
};

absl::Status GatherAllShapes(Collective& peers) {
  PeerGroupOptions options;  // three of the longest rows: seven come in slices
  options.inbox_bytes = 3 * kColsMax * 4 * 2 * (peers.size() - 1);
  Rank rank(peers);
  RETURN_IF_ERROR(rank.Start(options));
  for (int round = 0; round < 3; ++round) {
    for (const int64_t cols : {int64_t{4}, int64_t{36}, kColsMax}) {
      for (const int64_t rows : {int64_t{1}, int64_t{2}, kRowsMax, int64_t{3}}) {
        RETURN_IF_ERROR(rank.Gather(round, rows, cols));
      }
    }
  }
  return absl::OkStatus();
}

// Ranks without a GPU of their own take turns.
TEST(PeerGatherGpuTest, GathersColumnsInTheOrderOfRanks) {
  ASSERT_GT(CountGpus(), 0);
  for (const int ranks : {2, 3, 5}) {
    const absl::Status status = RunOnGpus(ranks, absl::Seconds(50), GatherAllShapes);
    EXPECT_TRUE(status.ok()) << ranks << " ranks: " << status;
  }
}

// Sums and gathers of several shapes on the same cells, the host away until the end: every call
// adds the number of ranks to the residual, whose values then are what is gathered.
absl::Status SumAndGather(Collective& peers) {
  constexpr int64_t kRows = 4, kCols = 64;
  constexpr int kCalls = 60;
  const auto ones = std::vector<uint16_t>(kRows * kCols, 0x3f80);
  CudaBuffer inbox;
  ASSIGN_OR_RETURN(CudaBuffer residual,
                   CudaBuffer::Create(MemoryPlace::kDevice, kRows * kCols * 4));
  ASSIGN_OR_RETURN(CudaBuffer delta, CudaBuffer::Create(MemoryPlace::kDevice, kRows * kCols * 2));
  const auto rows_of = [](int call) { return int64_t{1} + call % kRows; };
  const int64_t cols = kCols * peers.size();
  int64_t rows_sum = 0;
  for (int call = 0; call < kCalls; ++call) rows_sum += rows_of(call);
  ASSIGN_OR_RETURN(CudaBuffer all, CudaBuffer::Create(MemoryPlace::kDevice, rows_sum * cols * 4));
  RETURN_IF_ERROR(CudaStatus(cudaMemset(residual.data(), 0, kRows * kCols * 4), "residual"));
  RETURN_IF_ERROR(CudaStatus(
      cudaMemcpy(delta.data(), ones.data(), ones.size() * 2, cudaMemcpyDefault), "delta"));
  ASSIGN_OR_RETURN(const auto group, PeerGroup::Meet(peers, nullptr, inbox));
  const std::vector<int64_t> widths(static_cast<size_t>(peers.size()), kCols);
  auto* to = all.as<float>();
  for (int call = 0; call < kCalls; ++call) {
    RETURN_IF_ERROR(group->SumAdd({residual.data(), DType::kF32, kRows, kCols},
                                  {delta.data(), DType::kBF16, kRows, kCols}));
    const int64_t rows = rows_of(call);
    RETURN_IF_ERROR(group->GatherColumns({residual.data(), DType::kF32, rows, kCols}, widths,
                                         {to, DType::kF32, rows, cols}));
    to += rows * cols;
  }
  std::vector<float> got(static_cast<size_t>(rows_sum * cols));
  RETURN_IF_ERROR(
      CudaStatus(cudaMemcpy(got.data(), all.data(), got.size() * 4, cudaMemcpyDefault), "all"));
  RETURN_IF_ERROR(group->Check());
  auto begin = got.begin();
  for (int call = 0; call < kCalls; ++call) {
    const auto end = begin + rows_of(call) * cols;
    if (std::count(begin, end, static_cast<float>((call + 1) * peers.size())) != end - begin) {
      return absl::InternalError(absl::StrCat("call ", call));
    }
    begin = end;
  }
  return absl::OkStatus();
}

TEST(PeerGatherGpuTest, TakesTurnsWithSumsOnTheSameCells) {
  ASSERT_GT(CountGpus(), 0);
  const int ranks = std::clamp(CountGpus(), 2, kPeersMax);
  const absl::Status status = RunOnGpus(ranks, absl::Seconds(50), SumAndGather);
  EXPECT_TRUE(status.ok()) << status;
}

TEST(PeerGatherGpuTest, LeavesUnevenAndTooLongRowsToNccl) {
  ASSERT_GT(CountGpus(), 0);
  const absl::Status status =
      RunOnGpus(2, absl::Seconds(50), [](Collective& peers) -> absl::Status {
        CudaBuffer inbox;
        ASSIGN_OR_RETURN(const auto group, PeerGroup::Meet(peers, nullptr, inbox));
        const auto takes = [&](DType dtype, int64_t cols, int64_t of_other) {
          const std::vector<int64_t> widths = {cols, of_other};
          return group->TakesColumns({nullptr, dtype, 2, cols}, widths);
        };
        const int64_t inbox_row = PeerGroupOptions().inbox_bytes / 2 / 4;
        if (!takes(DType::kF32, 64128, 64128) || takes(DType::kF32, 2 * inbox_row, 2 * inbox_row) ||
            takes(DType::kF32, 64128, 64124) || takes(DType::kF32, 6, 6) ||
            takes(DType::kBF16, 64, 64)) {
          return absl::InternalError("wrong choice");
        }
        return absl::OkStatus();
      });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace headgate
