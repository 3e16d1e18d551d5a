#include "worker/cuda/pages/device_page_store.h"

#include <algorithm>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/cuda/device/cuda_status.h"

namespace headgate {
namespace {

constexpr int64_t kPlacesMax = 1024;

int64_t Sum(const std::array<int64_t, 3>& by_class) {
  return std::accumulate(by_class.begin(), by_class.end(), int64_t{0});
}

// Cuts pieces out of one allocation.
class Cutter {
 public:
  template <typename T>
  void Cut(T*& pointer, int64_t count) {
    if (base_ != nullptr) pointer = reinterpret_cast<T*>(base_ + used_);
    used_ += (count * static_cast<int64_t>(sizeof(T)) + 255) / 256 * 256;
  }
  void Restart(std::byte* base) {
    base_ = base;
    used_ = 0;
  }
  int64_t used() const { return used_; }

 private:
  std::byte* base_ = nullptr;
  int64_t used_ = 0;
};

}  // namespace

DevicePageStore::DevicePageStore(const KvLayout& layout, UploadRing& uploads, cudaStream_t stream)
    : layout_(layout), groups_(CountRowGroups(layout)), stream_(stream), uploads_(uploads) {}

absl::StatusOr<std::unique_ptr<DevicePageStore>> DevicePageStore::Create(const KvLayout& layout,
                                                                         uint32_t pages_total,
                                                                         int64_t positions_max,
                                                                         UploadRing& uploads,
                                                                         cudaStream_t stream) {
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  for (const RowSpec& row : layout.rows) {
    if (row.head_class == HeadClass::kGated) {
      return absl::InvalidArgumentError("cuda: gated rows are not supported on this device");
    }
  }
  std::unique_ptr<DevicePageStore> store(new DevicePageStore(layout, uploads, stream));
  RETURN_IF_ERROR(store->Allocate(pages_total, positions_max));
  store->Clear();
  return store;
}

absl::Status DevicePageStore::Allocate(uint32_t pages_total, int64_t positions_max) {
  const auto rows = static_cast<int64_t>(layout_.rows.size());
  const int64_t places =
      std::clamp<int64_t>(pages_total / std::max<int64_t>(rows, 1), 1, kPlacesMax);
  const int64_t row_pages = std::min<int64_t>(
      pages_total, (positions_max + layout_.page_tokens - 1) / layout_.page_tokens);
  const int64_t chunks_max = (row_pages + kChunkSlots - 1) / kChunkSlots;
  const int64_t chunks_total = places * rows + pages_total / kChunkSlots;
  tables_.rows = static_cast<int32_t>(rows);
  tables_.places = static_cast<int32_t>(places);
  tables_.chunks_max = static_cast<int32_t>(chunks_max);
  tables_.page_tokens = static_cast<int32_t>(layout_.page_tokens);
  tables_.pages_total = pages_total;
  tables_.chunks_total = static_cast<uint32_t>(chunks_total);
  Cutter cutter;
  RowSpec* specs = nullptr;
  for (int pass = 0; pass < 2; ++pass) {  // count, then cut
    cutter.Cut(specs, rows);
    cutter.Cut(tables_.chunks, places * rows * chunks_max);
    cutter.Cut(tables_.ids, chunks_total * kChunkSlots);
    cutter.Cut(tables_.free_pages, pages_total);
    cutter.Cut(tables_.free_chunks, chunks_total);
    cutter.Cut(tables_.free_counts, 2);
    if (pass == 1) break;
    ASSIGN_OR_RETURN(memory_, CudaBuffer::Create(MemoryPlace::kDevice, cutter.used()));
    cutter.Restart(memory_.data());
  }
  tables_.specs = specs;
  ASSIGN_OR_RETURN(
      check_, CudaBuffer::Create(MemoryPlace::kDevice, static_cast<int64_t>(sizeof(TableCheck)) +
                                                           int64_t{4} * pages_total));
  return CudaStatus(
      cudaMemcpyAsync(specs, layout_.rows.data(), layout_.rows.size() * sizeof(RowSpec),
                      cudaMemcpyHostToDevice, stream_),
      "uploading row specs");
}

void DevicePageStore::Clear() {
  freed_by_release_ += static_cast<uint64_t>(Sum(held_));
  sequences_.clear();
  step_.clear();
  releases_.clear();
  begun_ = false;
  held_ = {};
  free_ = tables_.pages_total;
  free_places_.resize(static_cast<size_t>(tables_.places));
  std::iota(free_places_.rbegin(), free_places_.rend(), 0);
  ResetTables(tables_, stream_);
  CudaCheck(cudaGetLastError(), "resetting page tables");
}

const DevicePageStore::Entry& DevicePageStore::Find(SequenceId sequence) const {
  const auto it = sequences_.find(sequence);
  CHECK(it != sequences_.end()) << "unknown sequence " << sequence;
  return it->second;
}

DevicePageStore::ByClass DevicePageStore::Held(int64_t length) const {
  ByClass pages = {};
  for (const RowGroup& group : groups_) {
    const RowSpec spec{group.head_class, group.sinks, group.window};
    pages[static_cast<size_t>(group.head_class)] +=
        group.rows * WorstCasePages(spec, length, layout_.page_tokens);
  }
  return pages;
}

void DevicePageStore::Hold(int64_t from, int64_t to) {
  const ByClass before = Held(from), after = Held(to);
  for (size_t i = 0; i < held_.size(); ++i) held_[i] += after[i] - before[i];
  free_ -= Sum(after) - Sum(before);
}

absl::Status DevicePageStore::AddSequence(SequenceId sequence) {
  if (sequences_.contains(sequence)) {
    return absl::AlreadyExistsError(absl::StrCat("sequence ", sequence, " is known already"));
  }
  if (free_places_.empty()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("page store: ", tables_.places, " sequences are the most that it holds"));
  }
  sequences_[sequence].place = free_places_.back();
  free_places_.pop_back();
  return absl::OkStatus();
}

// Checks the chunks and marks their sequences as writing.
absl::Status DevicePageStore::OpenStep(std::span<const Chunk> chunks) {
  for (const Chunk& chunk : chunks) {
    const auto it = sequences_.find(chunk.sequence);
    if (it == sequences_.end()) {
      return absl::NotFoundError(absl::StrCat("step: sequence ", chunk.sequence, " is unknown"));
    }
    Entry& entry = it->second;
    const int64_t longest = int64_t{tables_.chunks_max} * kChunkSlots * layout_.page_tokens;
    if (entry.writing != entry.length || chunk.position != entry.length ||
        entry.length + chunk.length() > longest) {
      return absl::InvalidArgumentError(
          absl::StrCat("step: chunk of sequence ", chunk.sequence, " begins at ", chunk.position,
                       ", expected one chunk at ", entry.length, ", to end by ", longest));
    }
    entry.writing = entry.length + chunk.length();
    step_.push_back(&entry);
  }
  return absl::OkStatus();
}

void DevicePageStore::CloseStep() {
  for (Entry* entry : step_) entry->writing = entry->length;
  step_.clear();
  begun_ = false;
}

absl::Status DevicePageStore::BeginStep(std::span<const Chunk> chunks) {
  CHECK(!begun_) << "the step before was neither committed nor aborted";
  if (absl::Status opened = OpenStep(chunks); !opened.ok()) {
    CloseStep();
    return opened;
  }
  int64_t needed = 0;
  for (const Entry* entry : step_) needed += Sum(Held(entry->writing)) - Sum(Held(entry->length));
  if (needed > free_) {
    CloseStep();
    return absl::ResourceExhaustedError(absl::StrCat("step: needs ", needed, " pages, ", free_,
                                                     " of ", tables_.pages_total, " are free"));
  }
  Change(releases_);
  releases_.clear();
  std::vector<LengthChange> changes;
  for (const Entry* entry : step_) {
    Hold(entry->length, entry->writing);
    changes.push_back(
        {entry->place, static_cast<int32_t>(entry->length), static_cast<int32_t>(entry->writing)});
  }
  Change(changes);
  peak_referenced_ = std::max(peak_referenced_, Sum(held_));
  begun_ = true;
  return absl::OkStatus();
}

void DevicePageStore::Commit() {
  CHECK(begun_) << "no step to commit";
  const auto rows = static_cast<int64_t>(layout_.rows.size());
  for (Entry* entry : step_) {
    const RowSpec full;
    const int64_t as_full = rows * (WorstCasePages(full, entry->writing, layout_.page_tokens) -
                                    WorstCasePages(full, entry->length, layout_.page_tokens));
    freed_by_policy_ +=
        static_cast<uint64_t>(as_full - (Sum(Held(entry->writing)) - Sum(Held(entry->length))));
    entry->length = entry->writing;
  }
  CloseStep();
}

void DevicePageStore::Abort() {
  CHECK(begun_) << "no step to abort";
  std::vector<LengthChange> changes;
  for (const Entry* entry : step_) {
    Hold(entry->writing, entry->length);
    changes.push_back(
        {entry->place, static_cast<int32_t>(entry->writing), static_cast<int32_t>(entry->length)});
  }
  Change(changes);
  CloseStep();
}

absl::Status DevicePageStore::Release(SequenceId sequence) {
  const auto it = sequences_.find(sequence);
  if (it == sequences_.end()) {
    return absl::NotFoundError(absl::StrCat("release: sequence ", sequence, " is unknown"));
  }
  const Entry& entry = it->second;
  CHECK_EQ(entry.writing, entry.length) << "sequence " << sequence << " is in a begun step";
  freed_by_release_ += static_cast<uint64_t>(Sum(Held(entry.length)));
  Hold(entry.length, 0);
  if (entry.length > 0) {
    releases_.push_back({entry.place, static_cast<int32_t>(entry.length), 0});
  }
  free_places_.push_back(entry.place);
  sequences_.erase(it);
  return absl::OkStatus();
}

void DevicePageStore::Change(std::span<const LengthChange> changes) const {
  // A ring slot holds any step's: sequences are fewer than places.
  if (changes.empty()) return;
  uploads_.Begin();
  const LengthChange* on_device = uploads_.Add(changes);
  uploads_.Send();
  ChangeLengths(tables_, on_device, static_cast<int>(changes.size()), stream_);
  CudaCheck(cudaGetLastError(), "changing page tables");
}

uint32_t DevicePageStore::PagesHeld(SequenceId sequence) const {
  return static_cast<uint32_t>(Sum(Held(Find(sequence).writing)));
}

int64_t DevicePageStore::Length(SequenceId sequence) const { return Find(sequence).length; }

PageStats DevicePageStore::Stats() const {
  const auto held = [this](HeadClass head_class) {
    return static_cast<uint32_t>(held_[static_cast<size_t>(head_class)]);
  };
  PageStats stats;
  stats.total = tables_.pages_total;
  stats.free = static_cast<uint32_t>(free_);
  stats.referenced_full = held(HeadClass::kFull);
  stats.referenced_streaming = held(HeadClass::kStreaming);
  stats.referenced_gated = held(HeadClass::kGated);
  stats.peak_referenced = static_cast<uint32_t>(peak_referenced_);
  stats.freed_by_policy = freed_by_policy_;
  stats.freed_by_release = freed_by_release_;
  stats.page_bytes = static_cast<uint64_t>(layout_.page_bytes());
  return stats;
}

absl::Status DevicePageStore::CheckIntegrity() const {
  // Released rows whose pages are not on the device's stack yet count as live there.
  std::vector<LengthChange> live;
  int64_t not_returned = 0;
  for (const LengthChange& release : releases_) {
    live.push_back({release.place, 0, release.from});
    not_returned += Sum(Held(release.from));
  }
  for (const auto& [id, entry] : sequences_) {
    live.push_back({entry.place, 0, static_cast<int32_t>(entry.writing)});
  }
  uploads_.Begin();
  const LengthChange* on_device = uploads_.Add(std::span<const LengthChange>(live));
  uploads_.Send();
  auto* out = check_.as<TableCheck>();
  CheckTables(tables_, on_device, static_cast<int>(live.size()),
              reinterpret_cast<uint32_t*>(check_.data() + sizeof(TableCheck)), out, stream_);
  CudaCheck(cudaGetLastError(), "checking page tables");
  TableCheck found;
  CudaCheck(cudaMemcpyAsync(&found, out, sizeof(found), cudaMemcpyDeviceToHost, stream_),
            "reading the check");
  CudaCheck(cudaStreamSynchronize(stream_), "checking page tables");
  if (found.bad_pages > 0) {
    return absl::InternalError(absl::StrCat("page store: ", found.bad_pages,
                                            " pages are not referenced exactly once, the first is ",
                                            found.first_bad));
  }
  if (found.free_pages != free_ - not_returned) {
    return absl::InternalError(absl::StrCat("page store: the device has ", found.free_pages,
                                            " free pages, the host counts ", free_ - not_returned));
  }
  return absl::OkStatus();
}

}  // namespace headgate
