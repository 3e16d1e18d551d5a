// Sums over ranks in processes of their own: two GPUs where there are two, else two ranks that take
// turns on one (fewer rounds: they wait for each other's time slices). This process never touches
// CUDA: ranks are forked from it.
#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "worker/cpu/float_formats.h"
#include "worker/cuda/bench/gpu_ranks.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/group/peer_group.h"

namespace headgate {
namespace {

constexpr float kEps = 1e-5f;
constexpr int kVariants = 8;  // of deltas, in turn
const absl::Duration kLimit = absl::Seconds(50);

std::vector<float> Random(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// As bf16, the same for whoever asks.
std::vector<uint16_t> DeltaOf(int rank, int variant, size_t count) {
  std::vector<uint16_t> narrow;
  for (const float value : Random(count, static_cast<uint32_t>(100 * rank + variant))) {
    narrow.push_back(FloatToBf16(value));
  }
  return narrow;
}

// One rank with the largest tensors of a test, and the host's account of what they must hold.
class Rank {
 public:
  Rank(Collective& peers, int64_t rows, int64_t cols)
      : peers_(peers), cols_(cols), count_(static_cast<size_t>(rows * cols)) {}
  ~Rank() {
    group.reset();
    cudaStreamDestroy(stream);
  }

  absl::Status Start(const PeerGroupOptions& options) {
    RETURN_IF_ERROR(
        CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream"));
    const auto bytes = static_cast<int64_t>(count_);
    ASSIGN_OR_RETURN(residual_, CudaBuffer::Create(MemoryPlace::kDevice, bytes * 4));
    ASSIGN_OR_RETURN(delta_, CudaBuffer::Create(MemoryPlace::kDevice, kVariants * bytes * 2));
    ASSIGN_OR_RETURN(out_, CudaBuffer::Create(MemoryPlace::kDevice, bytes * 2));
    ASSIGN_OR_RETURN(weight_, CudaBuffer::Create(MemoryPlace::kDevice, cols_ * 4));
    expected_ = Random(count_, 1);
    weights_ = Random(static_cast<size_t>(cols_), 2);
    RETURN_IF_ERROR(Copy(residual_.data(), expected_.data(), count_ * 4));
    RETURN_IF_ERROR(Copy(weight_.data(), weights_.data(), weights_.size() * 4));
    for (int variant = 0; variant < kVariants; ++variant) {
      RETURN_IF_ERROR(
          Copy(Delta(variant, 1).data, DeltaOf(peers_.rank(), variant, count_).data(), count_ * 2));
      std::vector<float>& sum = sums_.emplace_back(count_, 0.0f);
      for (int rank = 0; rank < peers_.size(); ++rank) {
        const std::vector<uint16_t> theirs = DeltaOf(rank, variant, count_);
        for (size_t i = 0; i < count_; ++i) sum[i] += Bf16ToFloat(theirs[i]);
      }
    }
    ASSIGN_OR_RETURN(group, PeerGroup::Meet(peers_, stream, inbox_, options));
    return CudaStatus(cudaDeviceSynchronize(), "starting");
  }

  // On the device alone; Expect is its counterpart.
  absl::Status Call(int variant, int64_t rows, bool norm) {
    const Tensor residual{residual_.data(), DType::kF32, rows, cols_};
    const Tensor delta = Delta(variant, rows);
    if (!group->Takes(delta)) return absl::InternalError(absl::StrCat("not taken: ", rows));
    if (!norm) return group->SumAdd(residual, delta);
    const std::span<const float> weight(weight_.as<const float>(), weights_.size());
    return group->SumAddRmsNorm(residual, delta, weight, kEps,
                                {out_.data(), DType::kBF16, rows, cols_});
  }
  void Expect(int variant, int64_t rows) {
    for (size_t i = 0; i < static_cast<size_t>(rows * cols_); ++i) {
      expected_[i] += sums_[static_cast<size_t>(variant)][i];
    }
  }

  // The residual to the bit. A NaN differs from everything.
  absl::Status CheckResidual() {
    std::vector<float> got(count_);
    RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(stream), "a round"));
    RETURN_IF_ERROR(group->Check());
    RETURN_IF_ERROR(Copy(got.data(), residual_.data(), count_ * 4));
    for (size_t i = 0; i < count_; ++i) {
      if (got[i] == expected_[i]) continue;
      return absl::InternalError(
          absl::StrCat("residual ", i, " is ", got[i], ", not ", expected_[i]));
    }
    return absl::OkStatus();
  }
  // The rows that the last call normed, to the rounding of bf16.
  absl::Status CheckOut(int64_t rows) {
    const auto cols = static_cast<size_t>(cols_);
    std::vector<uint16_t> got(static_cast<size_t>(rows) * cols);
    RETURN_IF_ERROR(Copy(got.data(), out_.data(), got.size() * 2));
    for (size_t row = 0; row < static_cast<size_t>(rows); ++row) {
      double squares = 0.0;
      for (size_t c = 0; c < cols; ++c) squares += std::pow(expected_[row * cols + c], 2.0);
      const double factor = 1.0 / std::sqrt(squares / static_cast<double>(cols) + kEps);
      for (size_t c = 0; c < cols; ++c) {
        const double want = expected_[row * cols + c] * factor * weights_[c];
        const double value = Bf16ToFloat(got[row * cols + c]);
        if (std::abs(value - want) <= std::abs(want) / 250 + 1e-6) continue;
        return absl::InternalError(
            absl::StrCat("row ", row, " of ", rows, ", column ", c, ": ", value, ", not ", want));
      }
    }
    return absl::OkStatus();
  }
  bool OutIsNan() {
    uint16_t one = 0;
    return Copy(&one, out_.data(), 2).ok() && std::isnan(Bf16ToFloat(one));
  }

  cudaStream_t stream = nullptr;
  std::unique_ptr<PeerGroup> group;

 private:
  static absl::Status Copy(void* to, const void* from, size_t bytes) {
    return CudaStatus(cudaMemcpy(to, from, bytes, cudaMemcpyDefault), "copying");
  }
  Tensor Delta(int variant, int64_t rows) {
    return {delta_.as<uint16_t>() + static_cast<size_t>(variant) * count_, DType::kBF16, rows,
            cols_};
  }

  Collective& peers_;
  const int64_t cols_;
  const size_t count_;
  CudaBuffer residual_, delta_, out_, weight_;
  std::vector<float> expected_, weights_;
  std::vector<std::vector<float>> sums_;  // of each variant
  CudaBuffer inbox_;
};

int RanksToTest() { return std::clamp(CountGpus(), 2, kPeersMax); }
bool ShareOneGpu() { return CountGpus() < 2; }

TEST(PeerGpuTest, SumsAndNormsOfAllShapes) {
  ASSERT_GT(CountGpus(), 0);
  const absl::Status status = RunOnGpus(RanksToTest(), kLimit, [](Collective& peers) {
    for (const int64_t cols : {8, 64, 576, 4096, 8192}) {
      Rank rank(peers, 33, cols);
      RETURN_IF_ERROR(rank.Start({}));
      int variant = 0;
      for (const int64_t rows : {1, 3, 33, 2}) {
        for (const bool norm : {true, false}) {
          RETURN_IF_ERROR(rank.Call(variant, rows, norm));
          rank.Expect(variant, rows);
          RETURN_IF_ERROR(rank.CheckResidual());
          if (norm) RETURN_IF_ERROR(rank.CheckOut(rows));
          variant = (variant + 1) % kVariants;
        }
      }
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(PeerGpuTest, ManyRoundsBackToBack) {
  ASSERT_GT(CountGpus(), 0);
  const int rounds = ShareOneGpu() ? 40 : 1000;
  const absl::Status status = RunOnGpus(RanksToTest(), kLimit, [rounds](Collective& peers) {
    constexpr int64_t kRows = 4;
    Rank rank(peers, kRows, 4096);
    RETURN_IF_ERROR(rank.Start({}));
    std::mt19937 pauses(static_cast<uint32_t>(peers.rank()));
    for (int round = 0; round < rounds; ++round) {
      const int64_t rows = round % 3 == 0 ? kRows : 1 + round % kRows;
      RETURN_IF_ERROR(rank.Call(round % kVariants, rows, round % 2 == 0));
      rank.Expect(round % kVariants, rows);
      if (pauses() % 50 == 0)
        absl::SleepFor(absl::Microseconds(300));  // now one leads, now another
    }
    RETURN_IF_ERROR(rank.CheckResidual());
    RETURN_IF_ERROR(rank.Call(0, kRows, true));
    rank.Expect(0, kRows);
    RETURN_IF_ERROR(rank.CheckResidual());
    return rank.CheckOut(kRows);
  });
  EXPECT_TRUE(status.ok()) << status;
}

// An H200 runs 132 blocks of 8,192 columns at once. Ranks that share a GPU take turns on it.
TEST(PeerGpuTest, MoreRowsThanBlocksAndOddNumbersOfRanks) {
  ASSERT_GT(CountGpus(), 0);
  struct Case {
    int ranks;
    int64_t rows, cols, inbox_bytes;
  };
  for (const Case& one :
       {Case{2, 300, 8192, 16 << 20}, Case{2, 5000, 64, 1 << 20}, Case{3, 300, 4096, 4 << 20},
        Case{5, 40, 4096, 300'000}, Case{8, 3, 576, 1 << 20}}) {
    const absl::Status status = RunOnGpus(one.ranks, kLimit, [&one](Collective& peers) {
      Rank rank(peers, one.rows, one.cols);
      PeerGroupOptions options;
      options.inbox_bytes = one.inbox_bytes;
      options.sum_sent_bytes_max = int64_t{1} << 40;
      RETURN_IF_ERROR(rank.Start(options));
      for (const int variant : {0, 1, 2}) {
        RETURN_IF_ERROR(rank.Call(variant, one.rows, variant != 1));
        rank.Expect(variant, one.rows);
      }
      RETURN_IF_ERROR(rank.CheckResidual());
      return rank.CheckOut(one.rows);
    });
    EXPECT_TRUE(status.ok()) << one.ranks << " ranks, " << one.rows << " rows: " << status;
  }
}

// 512 KB among calls of a row.
absl::Status CaptureCalls(Rank& rank, int calls, cudaGraphExec_t& run) {
  RETURN_IF_ERROR(CudaStatus(cudaStreamBeginCapture(rank.stream, cudaStreamCaptureModeThreadLocal),
                             "capturing"));
  for (int call = 0; call < calls; ++call) {
    RETURN_IF_ERROR(rank.Call(call % kVariants, call % 5 == 4 ? 64 : 1, call % 3 != 0));
  }
  cudaGraph_t graph = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaStreamEndCapture(rank.stream, &graph), "capturing"));
  absl::Status status = CudaStatus(cudaGraphInstantiate(&run, graph, 0), "instantiating");
  cudaGraphDestroy(graph);
  return status;
}

TEST(PeerGpuTest, ReplaysOfAGraphOfAnOddNumberOfCalls) {
  ASSERT_GT(CountGpus(), 0);
  const int replays = ShareOneGpu() ? 3 : 60;
  const absl::Status status = RunOnGpus(RanksToTest(), kLimit, [replays](Collective& peers) {
    constexpr int kCalls = 15;
    constexpr int64_t kRows = 64;
    Rank rank(peers, kRows, 4096);
    RETURN_IF_ERROR(rank.Start({}));
    cudaGraphExec_t run = nullptr;
    RETURN_IF_ERROR(CaptureCalls(rank, kCalls, run));
    for (int replay = 0; replay < replays; ++replay) {
      RETURN_IF_ERROR(CudaStatus(cudaGraphLaunch(run, rank.stream), "replaying"));
      for (int call = 0; call < kCalls; ++call) {
        rank.Expect(call % kVariants, call % 5 == 4 ? kRows : 1);
      }
    }
    const absl::Status checked = rank.CheckResidual();
    cudaGraphExecDestroy(run);
    RETURN_IF_ERROR(checked);
    return rank.CheckOut(kRows);
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(PeerGpuTest, ALostPeerIsAnErrorAfterOneTimeLimit) {
  ASSERT_GT(CountGpus(), 0);
  const absl::Status status = RunOnGpus(2, kLimit, [](Collective& peers) -> absl::Status {
    PeerGroupOptions options;
    options.timeout = absl::Milliseconds(500);
    Rank rank(peers, 4, 4096);
    RETURN_IF_ERROR(rank.Start(options));
    RETURN_IF_ERROR(rank.Call(0, 4, true));
    rank.Expect(0, 4);
    RETURN_IF_ERROR(rank.CheckResidual());
    if (peers.rank() == 1) _exit(0);  // as a process that is killed: nothing is closed
    const absl::Time begin = absl::Now();
    for (int call = 0; call < 64; ++call) RETURN_IF_ERROR(rank.Call(1, 1 + call % 4, true));
    RETURN_IF_ERROR(CudaStatus(cudaStreamSynchronize(rank.stream), "waiting for the kernels"));
    const absl::Duration took = absl::Now() - begin;
    if (!(took > absl::Milliseconds(400) && took < absl::Milliseconds(1500))) {
      return absl::InternalError(absl::StrCat("gave up after ", absl::FormatDuration(took)));
    }
    if (!rank.OutIsNan()) return absl::InternalError("a number came of a lost peer's values");
    for (const absl::Status& said : {rank.group->Check(), rank.Call(0, 1, false)}) {
      if (said.code() != absl::StatusCode::kUnavailable)
        return absl::InternalError(said.ToString());
    }
    return absl::OkStatus();
  });
  EXPECT_TRUE(status.ok()) << status;
}

TEST(PeerGpuTest, TakesWholeCellsAndLeavesTheLargeSumsOfManyRanksToNccl) {
  ASSERT_GT(CountGpus(), 0);
  for (const int ranks : {2, 3}) {
    const absl::Status status = RunOnGpus(ranks, kLimit, [](Collective& peers) -> absl::Status {
      PeerGroupOptions options;
      options.inbox_bytes = int64_t{8000} * 2 * (peers.size() - 1);  // a row of 4,000
      CudaBuffer inbox;
      ASSIGN_OR_RETURN(const auto group, PeerGroup::Meet(peers, nullptr, inbox, options));
      const auto takes = [&](DType dtype, int64_t rows, int64_t cols) {
        return group->Takes({nullptr, dtype, rows, cols});
      };
      if (!takes(DType::kBF16, 64, 4000) ||
          takes(DType::kBF16, 1 << 20, 4000) != (peers.size() == 2) ||
          takes(DType::kF32, 1, 4000) || takes(DType::kBF16, 1, 3996) ||
          takes(DType::kBF16, 1, 4008)) {
        return absl::InternalError("wrong choice");
      }
      return absl::OkStatus();
    });
    EXPECT_TRUE(status.ok()) << status;
  }
}

TEST(PeerGpuTest, WhatOneRankCannotNoRankDoes) {
  ASSERT_GT(CountGpus(), 0);
  const absl::Status status = RunOnGpus(2, kLimit, [](Collective& peers) -> absl::Status {
    PeerGroupOptions options;
    if (peers.rank() == 1) options.inbox_bytes = 0;
    CudaBuffer inbox;
    const absl::Status none = PeerGroup::Meet(peers, nullptr, inbox, options).status();
    if (none.code() != absl::StatusCode::kUnimplemented) {
      return absl::InternalError(none.ToString());
    }
    return PeerGroup::Meet(peers, nullptr, inbox).status();  // and nothing is left behind
  });
  EXPECT_TRUE(status.ok()) << status;
}

}  // namespace
}  // namespace headgate
