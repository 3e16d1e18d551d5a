#include "worker/collective/local.h"

#include <algorithm>
#include <condition_variable>
#include <cstring>
#include <mutex>
#include <utility>
#include <vector>

#include "base/check.h"
#include "base/status_macros.h"

namespace headgate {

// Where the ranks meet: each publishes what it brings, waits for all, reads, and waits again before
// anybody may change what was published.
struct LocalGroup::Meeting {
  struct Offer {
    const void* data = nullptr;
    size_t bytes = 0;
  };

  Meeting(int ranks, absl::Duration patience)
      : size(ranks), timeout(patience), offers(static_cast<size_t>(ranks)) {}

  absl::Status Meet() {
    std::unique_lock lock(mutex);
    if (lost) return absl::UnavailableError("a rank of the local group is gone");
    const uint64_t round = rounds;
    if (++arrived == size) {
      arrived = 0;
      ++rounds;
      met.notify_all();
      return absl::OkStatus();
    }
    const bool done = met.wait_for(lock, absl::ToChronoMilliseconds(timeout),
                                   [&] { return rounds != round || lost; });
    if (rounds != round) return absl::OkStatus();
    lost = true;
    met.notify_all();
    if (done) return absl::UnavailableError("a rank of the local group is gone");
    return absl::UnavailableError("a rank of the local group did not come in time");
  }

  void Leave() {
    std::lock_guard lock(mutex);
    lost = true;
    met.notify_all();
  }

  const int size;
  const absl::Duration timeout;
  std::vector<Offer> offers;  // by rank; written before Meet, read after it
  std::mutex mutex;
  std::condition_variable met;
  int arrived = 0;
  uint64_t rounds = 0;
  bool lost = false;
};

namespace {

template <typename Meeting>
class LocalCollective final : public Collective {
 public:
  LocalCollective(std::shared_ptr<Meeting> meeting, int rank)
      : meeting_(std::move(meeting)), rank_(rank) {}
  ~LocalCollective() override { meeting_->Leave(); }

  int rank() const override { return rank_; }
  int size() const override { return meeting_->size; }

  absl::Status AllReduceSum(std::span<float> values) override {
    if (size() == 1) return absl::OkStatus();
    RETURN_IF_ERROR(Publish(values.data(), values.size_bytes()));
    sum_.assign(values.size(), 0.0f);
    for (const auto& offer : meeting_->offers) {
      CHECK_EQ(offer.bytes, values.size_bytes()) << "ranks disagree on the all-reduce";
      const float* theirs = static_cast<const float*>(offer.data);
      for (size_t i = 0; i < sum_.size(); ++i) sum_[i] += theirs[i];
    }
    RETURN_IF_ERROR(meeting_->Meet());
    std::copy(sum_.begin(), sum_.end(), values.begin());
    return absl::OkStatus();
  }

  absl::Status GatherToRoot(std::span<const float> values, std::span<const int64_t> counts,
                            std::span<float> out) override {
    RETURN_IF_ERROR(Publish(values.data(), values.size_bytes()));
    if (rank_ == 0) {
      size_t at = 0;
      for (size_t r = 0; r < meeting_->offers.size(); ++r) {
        const auto& offer = meeting_->offers[r];
        const size_t count = static_cast<size_t>(counts[r]);
        CHECK_EQ(offer.bytes, count * sizeof(float)) << "ranks disagree on the gather";
        CHECK_LE(at + count, out.size());
        if (count > 0) std::memcpy(out.data() + at, offer.data, offer.bytes);
        at += count;
      }
    }
    return meeting_->Meet();
  }

  absl::Status Broadcast(std::span<std::byte> values) override {
    RETURN_IF_ERROR(Publish(values.data(), values.size_bytes()));
    const auto& root = meeting_->offers[0];
    CHECK_EQ(root.bytes, values.size_bytes()) << "ranks disagree on the broadcast";
    if (rank_ != 0 && !values.empty()) std::memcpy(values.data(), root.data, root.bytes);
    return meeting_->Meet();
  }

  absl::Status Barrier() override { return meeting_->Meet(); }

 private:
  absl::Status Publish(const void* data, size_t bytes) {
    meeting_->offers[static_cast<size_t>(rank_)] = {data, bytes};
    return meeting_->Meet();
  }

  const std::shared_ptr<Meeting> meeting_;
  const int rank_;
  std::vector<float> sum_;
};

}  // namespace

LocalGroup::LocalGroup(int size, absl::Duration timeout)
    : meeting_(std::make_shared<Meeting>(size, timeout)) {
  CHECK(size >= 1);
}

std::unique_ptr<Collective> LocalGroup::Join(int rank) {
  CHECK(0 <= rank && rank < meeting_->size) << "rank " << rank << " of " << meeting_->size;
  return std::make_unique<LocalCollective<Meeting>>(meeting_, rank);
}

std::unique_ptr<Collective> MakeSoloCollective() { return LocalGroup(1, absl::Seconds(1)).Join(0); }

}  // namespace headgate
