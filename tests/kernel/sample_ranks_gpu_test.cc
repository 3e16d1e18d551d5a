// Ranks with a part of the vocabulary each, in processes of their own, all draw what one host draws
// from the whole. NCCL wants a GPU per rank. This process never touches CUDA: ranks are forked.
#include <cuda_runtime.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/cuda/bench/gpu_ranks.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/sampling/device_sampler.h"
#include "worker/sampling/host_sampler.h"

namespace headgate {
namespace {

constexpr int64_t kRowsMax = 33;

// The columns of one rank's part, of `rows` rows.
std::vector<float> PartOf(const std::vector<float>& logits, int64_t rows, int64_t vocab,
                          int64_t begin, int64_t width) {
  std::vector<float> part;
  for (int64_t row = 0; row < rows; ++row) {
    const auto from = logits.begin() + row * vocab + begin;
    part.insert(part.end(), from, from + width);
  }
  return part;
}

// Few likely tokens, all over the vocabulary: rounding moves no draw.
std::vector<float> Logits(int64_t rows, int64_t vocab, uint32_t seed) {
  std::mt19937 random(seed);
  std::vector<float> logits(static_cast<size_t>(rows * vocab), -9.0f);
  for (int64_t row = 0; row < rows; ++row) {
    for (int i = 0; i < 20; ++i) {
      const int64_t token = static_cast<int64_t>(random()) % vocab;
      logits[static_cast<size_t>(row * vocab + token)] =
          static_cast<float>(random() % 1000) * 1e-3f + 5.0f;
    }
  }
  return logits;
}

absl::Status CompareWithHost(Collective& peers, const std::vector<int64_t>& widths) {
  cudaStream_t stream = nullptr;
  RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "stream"));
  const int64_t vocab = std::accumulate(widths.begin(), widths.end(), int64_t{0});
  const auto rank = static_cast<size_t>(peers.rank());
  const int64_t begin = std::accumulate(
      widths.begin(), widths.begin() + static_cast<std::ptrdiff_t>(rank), int64_t{0});
  ASSIGN_OR_RETURN(UploadRing uploads, UploadRing::Create(1 << 16, stream));
  CudaBuffer inbox;
  ASSIGN_OR_RETURN(std::unique_ptr<RankGroup> group, RankGroup::Meet(peers, stream, inbox));
  const KvLayout layout = MakeKvLayout(16, 8, DType::kBF16, {{RowSpec{}}});
  ASSIGN_OR_RETURN(const auto store, DevicePageStore::Create(layout, 64, 4096, uploads, stream));
  ASSIGN_OR_RETURN(const auto device, DeviceSampler::Create({widths, peers.rank(), kRowsMax, 256},
                                                            *store, group, stream, nullptr));
  HostSampler host({{vocab}, 0, kRowsMax, 256});
  for (SequenceId id = 1; id <= kRowsMax; ++id) {
    SamplingParams params;
    params.temperature = id % 3 == 0 ? 0.0f : 1.0f;
    params.top_p = id % 3 == 1 ? 0.8f : 1.0f;
    params.top_logprobs = 2;
    params.seed = id;
    RETURN_IF_ERROR(store->AddSequence(id));
    device->Add({id, params, 0, 0});
    host.Add({id, params, 0, 0});
  }
  ASSIGN_OR_RETURN(const CudaBuffer own,
                   CudaBuffer::Create(MemoryPlace::kDevice, kRowsMax * widths[rank] * 4));
  for (const int64_t rows : {1, 5, 33}) {
    std::vector<float> logits = Logits(rows, vocab, static_cast<uint32_t>(rows));
    const std::vector<float> part = PartOf(logits, rows, vocab, begin, widths[rank]);
    CudaCheck(
        cudaMemcpyAsync(own.data(), part.data(), part.size() * 4, cudaMemcpyHostToDevice, stream),
        "logits");
    std::vector<LogitUse> uses;
    for (int64_t row = 0; row < rows; ++row) {
      uses.push_back({static_cast<SequenceId>(row + 1), true, rows, static_cast<TokenId>(row)});
    }
    Batch batch;
    device->BeginStep(batch);
    host.BeginStep(batch);
    RETURN_IF_ERROR(device->Choose({own.data(), DType::kF32, rows, widths[rank]}, uses));
    RETURN_IF_ERROR(host.Choose({logits.data(), DType::kF32, rows, vocab}, uses));
    RETURN_IF_ERROR(device->EndStep());
    RETURN_IF_ERROR(host.EndStep());
    ASSIGN_OR_RETURN(const std::vector<LogitOutcome> got, device->Await());
    ASSIGN_OR_RETURN(const std::vector<LogitOutcome> want, host.Await());
    for (size_t i = 0; i < want.size(); ++i) {
      const SampledToken &token = got[i].sampled, &expected = want[i].sampled;
      if (token.token != expected.token || token.top.size() != expected.top.size() ||
          token.top[1].token != expected.top[1].token || got[i].scored.top != want[i].scored.top ||
          !(std::abs(got[i].scored.logprob - want[i].scored.logprob) < 1e-4f)) {
        return absl::InternalError(absl::StrCat("rank ", rank, ", row ", i, " of ", rows,
                                                ": token ", token.token, ", expected ",
                                                expected.token));
      }
    }
  }
  // A rank whose group has ended says so, and does not wait.
  group.reset();
  Batch batch;
  device->BeginStep(batch);
  const absl::Status gone =
      device->Choose({own.data(), DType::kF32, 1, widths[rank]}, std::vector<LogitUse>{{1, true}});
  return absl::IsUnavailable(gone) ? absl::OkStatus()
                                   : absl::InternalError("Choose worked without a group");
}

TEST(GpuSampleRanksTest, EveryRankDrawsWhatOneHostDraws) {
  const int gpus = CountGpus();
  ASSERT_GT(gpus, 0);
  if (gpus < 2) GTEST_SKIP() << "one GPU; NCCL needs one per rank";
  for (const std::vector<int64_t>& widths :
       {std::vector<int64_t>{20, 11}, {64128, 64128}, {24577, 24575}}) {
    const absl::Status status = RunOnGpus(2, absl::Seconds(50), [&widths](Collective& peers) {
      return CompareWithHost(peers, widths);
    });
    EXPECT_TRUE(status.ok()) << widths[0] << " and " << widths[1] << ": " << status;
  }
}

}  // namespace
}  // namespace headgate
