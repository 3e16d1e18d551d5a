// See weight_memory.h.
#include "worker/cpu/weight_memory.h"

#include <utility>

#include "base/status_macros.h"

namespace headgate {
namespace {

constexpr int64_t kBlockBytes = int64_t{16} << 20;
// Larger matrices get a block of their own: less is lost at a block's end.
constexpr int64_t kShareBytesMax = kBlockBytes / 4;

}  // namespace

absl::StatusOr<std::shared_ptr<std::byte>> WeightMemory::Take(int64_t bytes) {
  if (bytes < 0 || bytes > kShareBytesMax) {
    ASSIGN_OR_RETURN(AlignedBuffer own, AlignedBuffer::Create(bytes));
    const auto block = std::make_shared<AlignedBuffer>(std::move(own));
    return std::shared_ptr<std::byte>(block, block->data());
  }
  const int64_t lines = (bytes + 63) / 64 * 64;
  if (block_ == nullptr || taken_ + lines > block_->bytes()) {
    ASSIGN_OR_RETURN(AlignedBuffer next, AlignedBuffer::Create(kBlockBytes));
    block_ = std::make_shared<AlignedBuffer>(std::move(next));
    taken_ = 0;
  }
  std::shared_ptr<std::byte> memory(block_, block_->data() + taken_);
  taken_ += lines;
  return memory;
}

}  // namespace headgate
