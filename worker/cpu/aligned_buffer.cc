// Allocation with a status instead of an exception.
#include "worker/cpu/aligned_buffer.h"

#include <sys/mman.h>

#include <cstring>

#include "absl/strings/str_cat.h"

namespace headgate {
namespace {

constexpr int64_t kLine = 64;
constexpr int64_t kHugePage = int64_t{2} << 20;

}  // namespace

absl::StatusOr<AlignedBuffer> AlignedBuffer::Create(int64_t bytes) {
  if (!(bytes >= 0 && bytes <= INT64_MAX / 2)) {
    return absl::InvalidArgumentError(absl::StrCat("cpu: cannot allocate ", bytes, " bytes"));
  }
  const int64_t unit = bytes >= kHugePage ? kHugePage : kLine;
  const size_t size = static_cast<size_t>((bytes + unit - 1) / unit * unit + (bytes == 0) * unit);
  void* data = std::aligned_alloc(static_cast<size_t>(unit), size);
  if (data == nullptr) {
    return absl::ResourceExhaustedError(
        absl::StrCat("cpu: no memory for ", bytes, " bytes: use a smaller model or fewer pages"));
  }
  // Fewer TLB misses when weights stream by; only a hint.
  if (unit == kHugePage) madvise(data, size, MADV_HUGEPAGE);
  std::memset(data, 0, size);
  AlignedBuffer buffer;
  buffer.data_.reset(static_cast<std::byte*>(data));
  buffer.bytes_ = bytes;
  return buffer;
}

}  // namespace headgate
