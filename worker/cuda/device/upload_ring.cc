#include "worker/cuda/device/upload_ring.h"

#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {

absl::StatusOr<UploadRing> UploadRing::Create(int64_t bytes_max, cudaStream_t stream,
                                              size_t device_slots) {
  UploadRing ring(bytes_max, stream);
  for (size_t i = 0; i < device_slots; ++i) {
    ASSIGN_OR_RETURN(CudaBuffer buffer, CudaBuffer::Create(MemoryPlace::kDevice, bytes_max));
    ring.device_.push_back(std::move(buffer));
  }
  for (Slot& slot : ring.slots_) {
    ASSIGN_OR_RETURN(slot.host, CudaBuffer::Create(MemoryPlace::kPinned, bytes_max));
    RETURN_IF_ERROR(CudaStatus(cudaEventCreateWithFlags(&slot.sent, cudaEventDisableTiming),
                               "creating an event"));
  }
  return ring;
}

UploadRing::~UploadRing() {
  for (Slot& slot : slots_) {
    if (slot.host.data() != nullptr && slot.sent != nullptr) cudaEventDestroy(slot.sent);
  }
}

void UploadRing::Begin() {
  slot_ = (slot_ + 1) % kSlots;
  device_slot_ = (device_slot_ + 1) % device_.size();
  used_ = 0;
  CudaCheck(cudaEventSynchronize(slots_[slot_].sent), "waiting for an upload");
}

const std::byte* UploadRing::AddBytes(std::span<const std::byte> bytes, int64_t alignment) {
  used_ = (used_ + alignment - 1) / alignment * alignment;
  const auto size = static_cast<int64_t>(bytes.size());
  CHECK_LE(used_ + size, bytes_max_) << "upload ring";
  if (size > 0) std::memcpy(slots_[slot_].host.data() + used_, bytes.data(), bytes.size());
  const std::byte* at = device_[device_slot_].data() + used_;
  used_ += size;
  return at;
}

void UploadRing::Send() {
  const Slot& slot = slots_[slot_];
  if (used_ > 0) {
    CudaCheck(cudaMemcpyAsync(device_[device_slot_].data(), slot.host.data(),
                              static_cast<size_t>(used_), cudaMemcpyHostToDevice, stream_),
              "uploading a step");
  }
  CudaCheck(cudaEventRecord(slot.sent, stream_), "recording an upload");
}

}  // namespace headgate
