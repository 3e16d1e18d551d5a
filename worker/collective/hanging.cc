#include "worker/collective/hanging.h"

#include <utility>

#include "absl/time/clock.h"

namespace headgate {
namespace {

class HangingCollective final : public Collective {
 public:
  HangingCollective(std::unique_ptr<Collective> inner, absl::Notification* abort)
      : inner_(std::move(inner)), abort_(abort) {}

  int rank() const override { return inner_->rank(); }
  int size() const override { return inner_->size(); }
  absl::Status AllReduceSum(std::span<float> values) override {
    return HangOnError(inner_->AllReduceSum(values));
  }
  absl::Status GatherToRoot(std::span<const float> values, std::span<const int64_t> counts,
                            std::span<float> out) override {
    return HangOnError(inner_->GatherToRoot(values, counts, out));
  }
  absl::Status Broadcast(std::span<std::byte> values) override {
    return HangOnError(inner_->Broadcast(values));
  }
  absl::Status Barrier() override { return HangOnError(inner_->Barrier()); }

 private:
  absl::Status HangOnError(absl::Status status) {
    if (status.ok()) return status;
    if (abort_ != nullptr) {
      abort_->WaitForNotification();
      return status;
    }
    while (true) absl::SleepFor(absl::Seconds(60));
  }

  const std::unique_ptr<Collective> inner_;
  absl::Notification* const abort_;
};

}  // namespace

std::unique_ptr<Collective> MakeHanging(std::unique_ptr<Collective> inner,
                                        absl::Notification* abort) {
  return std::make_unique<HangingCollective>(std::move(inner), abort);
}

}  // namespace headgate
