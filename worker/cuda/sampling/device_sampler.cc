#include "worker/cuda/sampling/device_sampler.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/sampling/penalties.h"
#include "worker/sampling/philox.h"

namespace headgate {
namespace {

constexpr int64_t kFedMax = 4096;  // of one upload

// Linux makes some 50 us more of it.
constexpr absl::Duration kLookEvery = absl::Microseconds(5);

template <typename T>
absl::StatusOr<CudaBuffer> AllocateOf(MemoryPlace place, int64_t count) {
  return CudaBuffer::Create(place, count * static_cast<int64_t>(sizeof(T)));
}

LogitOutcome ToHost(const SampleOutcome& from, bool sample, bool scored) {
  LogitOutcome to;
  if (sample) {
    to.sampled.failed = from.failed != 0;
    to.sampled.token = from.token;
    to.sampled.logprob = from.logprob;
    for (int32_t i = 0; i < from.top_count; ++i) {
      to.sampled.top.push_back({from.top_tokens[i], from.top_logprobs[i]});
    }
  }
  if (scored) to.scored = {from.score_failed != 0, from.score_logprob, from.score_top};
  return to;
}

}  // namespace

DeviceSampler::DeviceSampler(const SamplerShape& shape, int64_t vocab, const DevicePageStore& store,
                             const std::unique_ptr<RankGroup>& group, UploadRing uploads,
                             cudaStream_t stream, EventClock* clock)
    : shape_(shape),
      vocab_(vocab),
      store_(store),
      group_(group),
      stream_(stream),
      clock_(clock),
      uploads_(std::move(uploads)) {}

DeviceSampler::~DeviceSampler() {
  for (const Step& step : steps_) {
    if (step.ended != nullptr) cudaEventDestroy(step.ended);
  }
}

absl::StatusOr<std::unique_ptr<DeviceSampler>> DeviceSampler::Create(
    const SamplerShape& shape, const DevicePageStore& store,
    const std::unique_ptr<RankGroup>& group, cudaStream_t stream, EventClock* clock) {
  const int64_t vocab =
      std::accumulate(shape.vocabulary.begin(), shape.vocabulary.end(), int64_t{0});
  CHECK(1 <= vocab && vocab <= kSampleVocabMax) << "a vocabulary of " << vocab;
  CHECK(0 <= shape.rank && shape.rank < static_cast<int>(shape.vocabulary.size()))
      << "rank " << shape.rank;
  const int64_t upload_bytes = std::max(shape.rows_max * static_cast<int64_t>(sizeof(SampleRow)),
                                        kFedMax * static_cast<int64_t>(sizeof(FedToken)));
  ASSIGN_OR_RETURN(UploadRing uploads, UploadRing::Create(upload_bytes, stream, 1));
  std::unique_ptr<DeviceSampler> sampler(
      new DeviceSampler(shape, vocab, store, group, std::move(uploads), stream, clock));
  RETURN_IF_ERROR(sampler->Allocate());
  return sampler;
}

absl::Status DeviceSampler::Allocate() {
  const int64_t places = store_.tables().places;
  ASSIGN_OR_RETURN(last_tokens_, AllocateOf<TokenId>(MemoryPlace::kDevice, places));
  // Rounded up to whole words: CountTokensKernel changes two counts at a time.
  ASSIGN_OR_RETURN(counts_,
                   AllocateOf<uint16_t>(MemoryPlace::kDevice, (places * vocab_ + 1) / 2 * 2));
  if (shape_.vocabulary.size() > 1) {
    ASSIGN_OR_RETURN(parts_, AllocateOf<float>(MemoryPlace::kDevice, shape_.rows_max * vocab_));
    ASSIGN_OR_RETURN(all_, AllocateOf<float>(MemoryPlace::kDevice, shape_.rows_max * vocab_));
  }
  for (Step& step : steps_) {
    ASSIGN_OR_RETURN(step.outcomes,
                     AllocateOf<SampleOutcome>(MemoryPlace::kPinned, shape_.uses_max));
    RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&step.ended, cudaEventDisableTiming),
                               "creating an event"));
  }
  static_assert(kTokenOfFailed == 0);
  for (const CudaBuffer* buffer : {&last_tokens_, &counts_}) {
    RETURN_IF_ERROR(CudaStatus(
        cudaMemsetAsync(buffer->data(), 0, static_cast<size_t>(buffer->bytes()), stream_),
        "clearing the sampler's memory"));
  }
  return absl::OkStatus();
}

void DeviceSampler::Add(const SequenceStart& start) {
  const Live live{store_.Place(start.sequence), start.sampling,
                  TokenHistory::Needed(start.sampling), start.prompt_tokens};
  sequences_.insert_or_assign(start.sequence, live);
  if (!live.penalised) return;
  CudaCheck(cudaMemsetAsync(counts_.as<uint16_t>() + live.place * vocab_, 0,
                            static_cast<size_t>(vocab_) * sizeof(uint16_t), stream_),
            "clearing counts");
}

void DeviceSampler::Clear() {
  sequences_.clear();
  oldest_ = ended_ = 0;
  open().uses.clear();
}

const DeviceSampler::Live& DeviceSampler::Find(SequenceId sequence) const {
  const auto it = sequences_.find(sequence);
  CHECK(it != sequences_.end()) << "unknown sequence " << sequence;
  return it->second;
}

void DeviceSampler::BeginStep(Batch& batch) {
  CHECK_LT(ended_, kStepsMax) << "BeginStep before Await";
  open().uses.clear();
  std::vector<FedToken> fed;
  for (const BatchSequence& one : batch.sequences) {
    const Live& live = Find(one.sequence);
    if (!live.penalised) continue;
    for (int64_t i = 0; i < one.length; ++i) {
      fed.push_back({live.place, batch.tokens[static_cast<size_t>(one.offset + i)],
                     one.position + i < live.prompt_tokens});
    }
  }
  CountTokens(fed);
}

void DeviceSampler::CountTokens(std::span<const FedToken> fed) {
  while (!fed.empty()) {
    const auto now = fed.first(std::min(fed.size(), static_cast<size_t>(kFedMax)));
    uploads_.Begin();
    const FedToken* on_device = uploads_.Add(now);
    uploads_.Send();
    LaunchCountTokens(on_device, static_cast<int32_t>(now.size()), last_tokens(), vocab_,
                      counts_.as<uint16_t>(), stream_);
    CudaCheck(cudaGetLastError(), "counting tokens");
    fed = fed.subspan(now.size());
  }
}

SampleRow DeviceSampler::MakeRow(const LogitUse& use) const {
  SampleRow row;
  row.target = use.target;
  if (!use.sample) return row;
  const Live& live = Find(use.sequence);
  const SamplingParams& params = live.params;
  row.sample = 1;
  row.place = live.place;
  row.uniform = UniformForToken(params.seed, use.token_index);
  if (params.temperature > 0.0f) {  // finite: the host does the same
    row.scale = static_cast<float>(std::min(1.0 / static_cast<double>(params.temperature), 1e30));
  }
  row.top_k = params.top_k;
  row.top_p = params.top_p;
  row.min_p = params.min_p;
  row.penalised = live.penalised ? 1 : 0;
  row.repetition_penalty = params.repetition_penalty;
  row.presence_penalty = params.presence_penalty;
  row.frequency_penalty = params.frequency_penalty;
  CHECK_LE(params.top_logprobs, kTopLogprobsMax) << "top_logprobs";
  row.top_logprobs = params.top_logprobs;
  return row;
}

absl::Status DeviceSampler::Choose(Tensor logits, std::span<const LogitUse> uses) {
  Step& step = open();
  const auto count = static_cast<int64_t>(uses.size());
  const auto used = static_cast<int64_t>(step.uses.size());
  CHECK(logits.dtype == DType::kF32 && logits.rows == count && count <= shape_.rows_max &&
        logits.cols == shape_.vocabulary[static_cast<size_t>(shape_.rank)])
      << "Choose: logits of " << logits.rows << " x " << logits.cols;
  CHECK_LE(used + count, shape_.uses_max) << "uses of a step";
  if (count == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const float* all, Gather(logits));
  std::vector<SampleRow> rows;
  for (const LogitUse& use : uses) {
    rows.push_back(MakeRow(use));
    step.uses.push_back({use.sample, use.target != kNoTarget});
  }
  SampleCall call;
  uploads_.Begin();
  call.rows = uploads_.Add(std::span<const SampleRow>(rows));
  uploads_.Send();
  call.logits = all;
  call.counts = counts_.as<const uint16_t>();
  call.last_tokens = last_tokens_.as<TokenId>();
  call.outcomes = step.outcomes.as<SampleOutcome>() + used;
  call.vocab = vocab_;
  call.count = static_cast<int32_t>(count);
  LaunchSample(call, stream_);
  CudaCheck(cudaGetLastError(), "sampling");
  return absl::OkStatus();
}

absl::StatusOr<const float*> DeviceSampler::Gather(Tensor logits) {
  if (shape_.vocabulary.size() == 1) return logits.f32();
  if (group_ == nullptr) return absl::UnavailableError("sampler: the group is gone");
  const Tensor all{all_.data(), DType::kF32, logits.rows, vocab_};
  const Tensor parts{parts_.data(), DType::kF32, logits.rows, vocab_};
  RETURN_IF_ERROR(group_->GatherColumns(logits, shape_.vocabulary, parts, all));
  return all.f32();
}

absl::Status DeviceSampler::EndStep() {
  if (clock_ != nullptr) clock_->End();  // first: who sees the step ended may ask for its times
  CudaCheck(cudaEventRecord(open().ended, stream_), "recording the end of a step");
  ++ended_;
  return absl::OkStatus();
}

absl::StatusOr<bool> DeviceSampler::Ready() {
  CHECK(ended_ > 0) << "no step to await";
  const cudaError_t state = cudaEventQuery(oldest().ended);
  // Asked after the event: a step that ended without a peer has said so.
  if (shape_.vocabulary.size() > 1) {
    if (group_ == nullptr) return absl::UnavailableError("sampler: the group is gone");
    RETURN_IF_ERROR(group_->Check());
  }
  if (state == cudaErrorNotReady) return false;
  CudaCheck(state, "a step");
  return true;
}

absl::StatusOr<std::vector<LogitOutcome>> DeviceSampler::Await() {
  CHECK(ended_ > 0) << "no step to await";
  if (shape_.vocabulary.size() == 1) {
    CudaCheck(cudaEventSynchronize(oldest().ended), "a step");
  }
  for (;;) {
    ASSIGN_OR_RETURN(const bool ready, Ready());
    if (ready) break;
    absl::SleepFor(kLookEvery);
  }
  const Step& step = oldest();
  std::vector<LogitOutcome> outcomes;
  for (size_t i = 0; i < step.uses.size(); ++i) {
    outcomes.push_back(ToHost(step.outcomes.as<const SampleOutcome>()[i], step.uses[i].sample,
                              step.uses[i].scored));
  }
  oldest_ = (oldest_ + 1) % kStepsMax;
  --ended_;
  return outcomes;
}

}  // namespace headgate
