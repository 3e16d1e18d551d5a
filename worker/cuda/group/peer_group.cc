#include "worker/cuda/group/peer_group.h"

#include <algorithm>
#include <cstring>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/device/arrival.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/group/peer_gather.h"
#include "worker/cuda/group/peer_sum.h"

namespace headgate {
namespace {

// What a rank tells the others, as bytes. Plain data, whole floats: it travels in a gather of them.
struct Card {
  char machine[48];  // empty: this rank has nothing to offer
  char bus[16];      // of its GPU
  cudaIpcMemHandle_t inbox;
};
constexpr size_t kCardFloats = sizeof(Card) / sizeof(float);
static_assert(sizeof(Card) % sizeof(float) == 0);

// Memory of other processes is shared by whole pages of this size: nothing else lies in ours.
constexpr int64_t kPageBytes = int64_t{2} << 20;

// What CUDA refuses here is no fault of later calls.
absl::Status Tried(cudaError_t error, const std::string& what) {
  if (error != cudaSuccess) cudaGetLastError();
  return CudaStatus(error, what);
}

absl::Status FillCard(const CudaBuffer& inbox, Card& card) {
  int device = 0;
  RETURN_IF_ERROR(Tried(cudaGetDevice(&device), "asking which GPU is used"));
  RETURN_IF_ERROR(
      Tried(cudaDeviceGetPCIBusId(card.bus, sizeof(card.bus), device), "asking for a GPU's bus"));
  RETURN_IF_ERROR(
      Tried(cudaIpcGetMemHandle(&card.inbox, inbox.data()), "offering memory to the peers"));
  std::ifstream boot("/proc/sys/kernel/random/boot_id");  // of this machine alone
  boot.getline(card.machine, sizeof(card.machine));
  if (card.machine[0] == '\0') return absl::UnimplementedError("this machine has no boot id");
  return absl::OkStatus();
}

// Whether this rank's GPU can store into the peer's. A GPU that this process may not see
// (CUDA_VISIBLE_DEVICES) cannot be asked about: opening its memory will tell.
absl::Status CheckAccess(const Card& own, const Card& peer, int rank) {
  if (peer.machine[0] == '\0') {
    return absl::UnimplementedError(absl::StrCat("rank ", rank, " has no memory to offer"));
  }
  if (std::strcmp(own.machine, peer.machine) != 0) {
    return absl::UnimplementedError(absl::StrCat("rank ", rank, " is on another machine"));
  }
  int device = 0, other = 0, can = 0;
  RETURN_IF_ERROR(Tried(cudaGetDevice(&device), "asking which GPU is used"));
  if (!Tried(cudaDeviceGetByPCIBusId(&other, peer.bus), "").ok() || other == device) {
    return absl::OkStatus();
  }
  RETURN_IF_ERROR(Tried(cudaDeviceCanAccessPeer(&can, device, other), "asking for peer access"));
  if (can == 0) {
    return absl::UnimplementedError(
        absl::StrCat("GPU ", own.bus, " cannot store into GPU ", peer.bus, " of rank ", rank));
  }
  return absl::OkStatus();
}

// Every rank's card, on every rank.
absl::StatusOr<std::vector<Card>> ExchangeCards(Collective& peers, const Card& own) {
  const auto ranks = static_cast<size_t>(peers.size());
  std::vector<float> one(kCardFloats), all(ranks * kCardFloats);
  std::memcpy(one.data(), &own, sizeof(Card));
  const std::vector<int64_t> counts(ranks, static_cast<int64_t>(kCardFloats));
  RETURN_IF_ERROR(peers.GatherToRoot(one, counts, all));
  RETURN_IF_ERROR(peers.Broadcast(std::as_writable_bytes(std::span(all))));
  std::vector<Card> cards(ranks);
  std::memcpy(cards.data(), all.data(), ranks * sizeof(Card));
  return cards;
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeerGroup>> PeerGroup::Meet(Collective& peers, cudaStream_t stream,
                                                           CudaBuffer& inbox,
                                                           const PeerGroupOptions& options) {
  const int ranks = peers.size();
  if (!(2 <= ranks && ranks <= kPeersMax)) {
    return absl::UnimplementedError(
        absl::StrCat("peers: ", ranks, " ranks; 2 to ", kPeersMax, " are possible"));
  }
  std::unique_ptr<PeerGroup> group(new PeerGroup(stream, inbox, options));
  // From here on no rank leaves before all have voted: the others would wait for it.
  Card own = {};
  absl::Status able = group->Allocate(peers.rank(), ranks);
  if (able.ok()) able = FillCard(group->inbox_, own);
  if (!able.ok()) own = Card();
  ASSIGN_OR_RETURN(const std::vector<Card> cards, ExchangeCards(peers, own));
  // All ranks have left their last group, and none sends for this one before the vote.
  if (able.ok()) able = group->Empty();
  for (int peer = 0; able.ok() && peer < ranks; ++peer) {
    if (peer == peers.rank()) continue;
    const Card& card = cards[static_cast<size_t>(peer)];
    able = CheckAccess(own, card, peer);
    if (able.ok()) able = group->Map(peer, card.inbox);
  }
  float unable = able.ok() ? 0.0f : 1.0f;
  RETURN_IF_ERROR(peers.AllReduceSum({&unable, 1}));
  if (!able.ok()) return absl::UnimplementedError(absl::StrCat("peers: ", able.message()));
  if (unable > 0.0f) return absl::UnimplementedError("peers: another rank cannot reach them all");
  return group;
}

absl::Status PeerGroup::Allocate(int rank, int ranks) {
  const int64_t cell_of_all = kCellBytes * 2 * (ranks - 1);
  if (!(cell_of_all <= options_.inbox_bytes && options_.inbox_bytes <= int64_t{1} << 32)) {
    return absl::InvalidArgumentError(
        absl::StrCat("an inbox of ", options_.inbox_bytes, " bytes; up to 4 GiB are possible"));
  }
  int device = 0;
  RETURN_IF_ERROR(Tried(cudaGetDevice(&device), "asking which GPU is used"));
  RETURN_IF_ERROR(
      Tried(cudaDeviceGetAttribute(&view_.multiprocessors, cudaDevAttrMultiProcessorCount, device),
            "asking for the number of multiprocessors"));
  view_.rank = rank;
  view_.ranks = ranks;
  view_.cells_max = options_.inbox_bytes / cell_of_all;
  view_.wait_ns_max = absl::ToInt64Nanoseconds(options_.timeout);
  const int64_t pages = (options_.inbox_bytes + kPageBytes - 1) / kPageBytes;
  if (inbox_.bytes() < pages * kPageBytes) {
    ASSIGN_OR_RETURN(inbox_, CudaBuffer::Create(MemoryPlace::kDevice, pages * kPageBytes));
  }
  ASSIGN_OR_RETURN(turns_, CudaBuffer::Create(MemoryPlace::kDevice, view_.cells_max));
  ASSIGN_OR_RETURN(lost_, CudaBuffer::Create(MemoryPlace::kPinned, sizeof(uint32_t)));
  view_.inbox[rank] = inbox_.as<uint4>();
  view_.turns = turns_.as<uint8_t>();
  view_.lost = lost_.as<uint32_t>();
  *view_.lost = 0;
  return absl::OkStatus();
}

absl::Status PeerGroup::Empty() {
  RETURN_IF_ERROR(Tried(EmptyCells(inbox_.data(), inbox_.bytes(), stream_), "emptying the inbox"));
  RETURN_IF_ERROR(
      Tried(cudaMemsetAsync(turns_.data(), 0, static_cast<size_t>(turns_.bytes()), stream_),
            "clearing turns"));
  return Tried(cudaStreamSynchronize(stream_), "emptying the inbox");
}

absl::Status PeerGroup::Map(int peer, const cudaIpcMemHandle_t& inbox) {
  void* mapped = nullptr;
  RETURN_IF_ERROR(Tried(cudaIpcOpenMemHandle(&mapped, inbox, cudaIpcMemLazyEnablePeerAccess),
                        absl::StrCat("mapping the memory of rank ", peer)));
  view_.inbox[peer] = static_cast<uint4*>(mapped);
  return absl::OkStatus();
}

void PeerGroup::StopWaiting() {
  *static_cast<volatile uint32_t*>(view_.lost) = 1 + static_cast<uint32_t>(view_.rank);
}

// Nothing of ours is on its way to a peer's memory any more. Errors are ignored, as in CudaBuffer.
PeerGroup::~PeerGroup() {
  cudaStreamSynchronize(stream_);
  for (int peer = 0; peer < view_.ranks; ++peer) {
    if (peer != view_.rank && view_.inbox[peer] != nullptr) {
      cudaIpcCloseMemHandle(view_.inbox[peer]);
    }
  }
}

bool PeerGroup::HasRoomFor(int64_t row_bytes) const {
  return row_bytes % kCellBytes == 0 && row_bytes / kCellBytes <= view_.cells_max;
}

bool PeerGroup::Takes(Tensor delta) const {
  const int64_t sent_bytes = delta.rows * delta.cols * 2 * (view_.ranks - 1);
  return delta.dtype == DType::kBF16 && delta.cols <= kPeerColsMax && HasRoomFor(delta.cols * 2) &&
         (view_.ranks == 2 || sent_bytes <= options_.sum_sent_bytes_max);
}

bool PeerGroup::TakesColumns(Tensor own, std::span<const int64_t> widths) const {
  return own.dtype == DType::kF32 && HasRoomFor(own.cols * 4) &&
         std::all_of(widths.begin(), widths.end(),
                     [&own](int64_t width) { return width == own.cols; });
}

void PeerGroup::InSlices(int64_t rows, int64_t row_bytes,
                         absl::FunctionRef<void(int64_t, int64_t)> use) const {
  if (row_bytes == 0) return;
  const int64_t rows_max = view_.cells_max * kCellBytes / row_bytes;
  for (int64_t begin = 0; begin < rows; begin += rows_max) {
    use(begin, std::min(rows_max, rows - begin));
  }
}

absl::Status PeerGroup::SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                                      float eps, Tensor out) {
  const int64_t cols = delta.cols;
  CHECK(Takes(delta) && residual.dtype == DType::kF32 && out.dtype == DType::kBF16 &&
        residual.rows == delta.rows && residual.cols == cols && out.rows == delta.rows &&
        out.cols == cols && static_cast<int64_t>(weight.size()) == cols)
      << "SumAddRmsNorm shapes";
  RETURN_IF_ERROR(Check());
  InSlices(delta.rows, delta.cols * 2, [&](int64_t begin, int64_t rows) {
    LaunchSumAddRmsNorm(view_, residual.f32() + begin * cols,
                        static_cast<const __nv_bfloat16*>(delta.data) + begin * cols, weight.data(),
                        eps, rows, cols, static_cast<__nv_bfloat16*>(out.data) + begin * cols,
                        stream_);
  });
  CudaCheck(cudaGetLastError(), "SumAddRmsNorm");
  return absl::OkStatus();
}

absl::Status PeerGroup::SumAdd(Tensor residual, Tensor delta) {
  CHECK(Takes(delta) && residual.dtype == DType::kF32 && residual.rows == delta.rows &&
        residual.cols == delta.cols)
      << "SumAdd shapes";
  RETURN_IF_ERROR(Check());
  InSlices(delta.rows, delta.cols * 2, [&](int64_t begin, int64_t rows) {
    LaunchSumAdd(view_, residual.f32() + begin * delta.cols,
                 static_cast<const __nv_bfloat16*>(delta.data) + begin * delta.cols, rows,
                 delta.cols, stream_);
  });
  CudaCheck(cudaGetLastError(), "SumAdd");
  return absl::OkStatus();
}

absl::Status PeerGroup::GatherColumns(Tensor own, std::span<const int64_t> widths, Tensor out) {
  CHECK(TakesColumns(own, widths) && out.dtype == DType::kF32 && out.rows == own.rows &&
        out.cols == own.cols * view_.ranks)
      << "GatherColumns shapes";
  RETURN_IF_ERROR(Check());
  InSlices(own.rows, own.cols * 4, [&](int64_t begin, int64_t rows) {
    LaunchGatherColumns(view_, own.f32() + begin * own.cols, rows, own.cols,
                        out.f32() + begin * out.cols, stream_);
  });
  CudaCheck(cudaGetLastError(), "GatherColumns");
  return absl::OkStatus();
}

absl::Status PeerGroup::Check() const {
  const uint32_t lost = *static_cast<const volatile uint32_t*>(view_.lost);
  if (lost == 0) [[likely]]
    return absl::OkStatus();
  return absl::UnavailableError(absl::StrCat("peers: rank ", lost - 1,
                                             " did not come to a call of rank ", view_.rank,
                                             " within ", absl::FormatDuration(options_.timeout)));
}

}  // namespace headgate
