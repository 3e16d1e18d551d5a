#include "worker/cuda/weights/weight_uploader.h"

#include <cuda_runtime.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <thread>

#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/weights/convert.h"

namespace headgate {
namespace {

constexpr size_t kLanesMax = 8;
constexpr int64_t kBlockBytes = int64_t{4} << 20;  // of rows, copied at a time

}  // namespace

// One Upload, cut into blocks of rows that the lanes take in turn.
struct WeightUploader::Work {
  const RowSource& rows;
  __nv_bfloat16* to;
  int64_t block_rows;
  std::atomic<int64_t> next_row{0};
};

// One thread's stream and memory.
class WeightUploader::Lane {
 public:
  static absl::StatusOr<std::unique_ptr<Lane>> Create(int device);
  ~Lane();
  Lane(const Lane&) = delete;
  Lane& operator=(const Lane&) = delete;

  // Takes blocks until there are none, or one fails.
  absl::Status Run(Work& work);

 private:
  struct Slot {
    CudaBuffer host;
    CudaBuffer device;  // before conversion
    cudaEvent_t copied = nullptr;
  };

  explicit Lane(int device) : device_(device) {}
  absl::Status RunBlocks(Work& work);
  absl::Status Send(const Work& work, int64_t first, int64_t count, Slot& slot);

  const int device_;
  cudaStream_t stream_ = nullptr;
  std::array<Slot, 2> slots_;
};

absl::StatusOr<std::unique_ptr<WeightUploader::Lane>> WeightUploader::Lane::Create(int device) {
  std::unique_ptr<Lane> lane(new Lane(device));
  RETURN_IF_ERROR(CudaStatus(cudaStreamCreateWithFlags(&lane->stream_, cudaStreamNonBlocking),
                             "creating a stream"));
  for (Slot& slot : lane->slots_) {
    // Blocking: waiting lanes leave the cores to those that read.
    RETURN_IF_ERROR(CudaStatus(
        cudaEventCreateWithFlags(&slot.copied, cudaEventDisableTiming | cudaEventBlockingSync),
        "creating an event"));
  }
  return lane;
}

WeightUploader::Lane::~Lane() {
  for (Slot& slot : slots_) {
    if (slot.copied != nullptr) cudaEventDestroy(slot.copied);
  }
  if (stream_ != nullptr) cudaStreamDestroy(stream_);
}

absl::Status WeightUploader::Lane::Run(Work& work) {
  absl::Status status = CudaStatus(cudaSetDevice(device_), "using the GPU");
  if (status.ok()) status = RunBlocks(work);
  if (!status.ok()) work.next_row = work.rows.rows();  // the others need not go on
  const absl::Status copied = CudaStatus(cudaStreamSynchronize(stream_), "uploading weights");
  return status.ok() ? copied : status;
}

absl::Status WeightUploader::Lane::RunBlocks(Work& work) {
  for (size_t turn = 0;; ++turn) {
    const int64_t first = work.next_row.fetch_add(work.block_rows);
    if (first >= work.rows.rows()) return absl::OkStatus();
    const int64_t count = std::min(work.block_rows, work.rows.rows() - first);
    RETURN_IF_ERROR(Send(work, first, count, slots_[turn % slots_.size()]));
  }
}

absl::Status WeightUploader::Lane::Send(const Work& work, int64_t first, int64_t count,
                                        Slot& slot) {
  const RowSource& rows = work.rows;
  const auto bytes = static_cast<size_t>(count * rows.row_bytes());
  const bool converts = rows.dtype() != DType::kBF16;
  RETURN_IF_ERROR(CudaStatus(cudaEventSynchronize(slot.copied), "uploading weights"));
  const int64_t room = std::max(kBlockBytes, rows.row_bytes());
  if (slot.host.bytes() < room) {
    slot.host = CudaBuffer();  // before the larger one is taken
    ASSIGN_OR_RETURN(slot.host, CudaBuffer::Create(MemoryPlace::kPinned, room));
  }
  if (converts && slot.device.bytes() < room) {
    slot.device = CudaBuffer();
    ASSIGN_OR_RETURN(slot.device, CudaBuffer::Create(MemoryPlace::kDevice, room));
  }
  RETURN_IF_ERROR(rows.Read(first, count, {slot.host.data(), bytes}));
  __nv_bfloat16* to = work.to + first * rows.cols();
  RETURN_IF_ERROR(
      CudaStatus(cudaMemcpyAsync(converts ? static_cast<void*>(slot.device.data()) : to,
                                 slot.host.data(), bytes, cudaMemcpyHostToDevice, stream_),
                 "uploading weights"));
  if (converts) {
    LaunchToBf16(slot.device.data(), rows.dtype(), count * rows.cols(), to, stream_);
    RETURN_IF_ERROR(CudaStatus(cudaGetLastError(), "converting weights"));
  }
  return CudaStatus(cudaEventRecord(slot.copied, stream_), "uploading weights");
}

WeightUploader::WeightUploader() = default;
WeightUploader::~WeightUploader() = default;

absl::StatusOr<std::unique_ptr<WeightUploader>> WeightUploader::Create(int device) {
  std::unique_ptr<WeightUploader> uploader(new WeightUploader);
  const size_t cores = std::max(1u, std::thread::hardware_concurrency());
  for (size_t i = 0; i < std::min(cores, kLanesMax); ++i) {
    ASSIGN_OR_RETURN(std::unique_ptr<Lane> lane, Lane::Create(device));
    uploader->lanes_.push_back(std::move(lane));
  }
  return uploader;
}

absl::Status WeightUploader::Upload(const RowSource& rows, __nv_bfloat16* to) {
  if (rows.rows() == 0 || rows.cols() == 0) return absl::OkStatus();
  Work work{rows, to, std::max<int64_t>(1, kBlockBytes / rows.row_bytes())};
  const int64_t blocks = (rows.rows() + work.block_rows - 1) / work.block_rows;
  const size_t lanes = std::min(lanes_.size(), static_cast<size_t>(blocks));
  std::vector<absl::Status> ends(lanes);
  {
    std::vector<std::jthread> threads;
    for (size_t i = 1; i < lanes; ++i) {
      threads.emplace_back([&, i] { ends[i] = lanes_[i]->Run(work); });
    }
    ends[0] = lanes_[0]->Run(work);
  }
  for (const absl::Status& end : ends) RETURN_IF_ERROR(end);
  return absl::OkStatus();
}

}  // namespace headgate
