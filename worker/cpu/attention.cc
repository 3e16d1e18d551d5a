// Plans attention and walks the blocks of keys. See attention.h.
#include "worker/cpu/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

// Query rows that share one pass over the keys: enough to pay for loading a block.
constexpr int64_t kItemRows = 48;

// Bits [begin, end) of a block that starts at `base`.
uint64_t BitRange(int64_t begin, int64_t end, int64_t base) {
  const int64_t lo = std::clamp<int64_t>(begin - base, 0, kBlockKeys);
  const int64_t hi = std::clamp<int64_t>(end - base, 0, kBlockKeys);
  if (hi <= lo) return 0;
  const uint64_t below_hi = hi == 64 ? ~uint64_t{0} : (uint64_t{1} << hi) - 1;
  return below_hi & ~((uint64_t{1} << lo) - 1);
}

// Positions of the block at `base` that query position t sees (kept list aside).
uint64_t VisibleBits(const RowSpec& spec, int64_t t, int64_t page_tokens, int64_t base) {
  return BitRange(0, std::min(spec.sinks, t + 1), base) |
         BitRange(WindowStart(spec, t, page_tokens), t + 1, base);
}

int64_t RoundUp(int64_t value, int64_t unit) { return (value + unit - 1) / unit * unit; }

}  // namespace

struct Attention::Call {
  const Batch& batch;
  Tensor qkv;
  Tensor out;
  int64_t heads = 0;
  int64_t kv_heads = 0;

  int64_t group() const { return heads / kv_heads; }
  const float* row(int64_t index) const { return qkv.f32() + index * qkv.cols; }
};

Attention::Attention(const KernelTable& kernels, ThreadPool& pool)
    : kernels_(kernels), pool_(pool), scratch_(static_cast<size_t>(pool.threads())) {}

absl::Status Attention::CreatePages(const KvLayout& layout, uint32_t pages) {
  RETURN_IF_ERROR(ValidateKvLayout(layout));
  if (layout.dtype == DType::kF16 || layout.head_dim > 1024) {
    return absl::InvalidArgumentError(
        absl::StrCat("cpu: pages must be fp32 or bf16 with head_dim <= 1024, not ",
                     std::string(DTypeName(layout.dtype)), " with ", layout.head_dim));
  }
  if (layout.page_bytes() > INT64_MAX / 4 / (static_cast<int64_t>(pages) + 1)) {
    return absl::InvalidArgumentError("cpu: the page pool is too large");
  }
  ASSIGN_OR_RETURN(pages_, AlignedBuffer::Create(layout.page_bytes() * pages));
  page_tokens_ = layout.page_tokens;
  page_bytes_ = layout.page_bytes();
  token_bytes_ = layout.head_dim * DTypeBytes(layout.dtype);
  value_offset_ = page_tokens_ * token_bytes_;
  head_dim_ = layout.head_dim;
  padded_dim_ = RoundUp(head_dim_, 32);
  dtype_ = layout.dtype;
  return absl::OkStatus();
}

std::byte* Attention::Token(PageId page, int64_t slot) const {
  return pages_.data() + static_cast<int64_t>(page) * page_bytes_ + slot * token_bytes_;
}

void Attention::Run(int64_t layer, const Batch& batch, const HostPageStore& store, Tensor qkv,
                    int64_t heads, Tensor out) {
  const int64_t kv_heads = store.layout().kv_heads(layer);
  if (kv_heads == 0 || batch.sequences.empty()) return;
  CHECK(heads % kv_heads == 0 && qkv.cols == (heads + 2 * kv_heads) * head_dim_ &&
        out.cols == heads * head_dim_)
      << "attention shapes, layer " << layer;
  const Call call{batch, qkv, out, heads, kv_heads};
  row_views_.clear();
  for (const BatchSequence& sequence : batch.sequences) {
    for (int64_t head = 0; head < kv_heads; ++head) {
      row_views_.push_back(store.Row(sequence.sequence, layer, head));
      CHECK_EQ(row_views_.back().length, sequence.position) << "chunk does not follow its row";
    }
  }
  if (out.rows > 0) {
    PlanItems(call);
    pool_.Run(static_cast<int64_t>(items_.size()),
              [&](int64_t i, int thread) { Attend(call, items_[static_cast<size_t>(i)], thread); });
  }
  // A ring's page may hold keys that queries of this chunk read: write when all have been read.
  pool_.Run(static_cast<int64_t>(row_views_.size()),
            [&](int64_t i, int) { Append(call, static_cast<size_t>(i / kv_heads), i % kv_heads); });
}

void Attention::PlanItems(const Call& call) {
  const int64_t group = call.group();
  const int64_t step = std::max<int64_t>(1, kItemRows / group);
  items_.clear();
  for (size_t s = 0; s < call.batch.sequences.size(); ++s) {
    const int64_t length = call.batch.sequences[s].length;
    // Late queries see most: begin with them, so that the threads end together.
    for (int64_t first = (length - 1) / step * step; first >= 0 && length > 0; first -= step) {
      for (int64_t head = 0; head < call.kv_heads; ++head) {
        const size_t view = s * static_cast<size_t>(call.kv_heads) + static_cast<size_t>(head);
        items_.push_back({view, s, head, first, std::min(step, length - first)});
      }
    }
  }
  GrowScratch(RoundUp(step * group, 16));
}

void Attention::GrowScratch(int64_t rows_max) {
  if (rows_max <= scratch_rows_) return;
  const int64_t floats =
      rows_max * (2 * padded_dim_ + kBlockKeys + 17) +  // q, sum, scores, weight, top
      2 * padded_dim_ * kBlockKeys +                    // keys, values
      (rows_max + 16) * (padded_dim_ + kBlockKeys);     // split
  for (AlignedBuffer& buffer : scratch_) {
    absl::StatusOr<AlignedBuffer> grown = AlignedBuffer::Create(floats * 4);
    CHECK(grown.ok()) << grown.status().ToString();
    buffer = *std::move(grown);
  }
  scratch_rows_ = rows_max;
}

AttendState Attention::StateFor(int thread, int64_t rows) const {
  float* at = scratch_[static_cast<size_t>(thread)].as<float>();
  const auto take = [&at](int64_t floats) {
    float* begin = at;
    at += floats;
    return begin;
  };
  AttendState state;
  state.head_dim = head_dim_;
  state.padded_dim = padded_dim_;
  state.rows = rows;
  state.bf16_pages = dtype_ == DType::kBF16;
  state.q = take(scratch_rows_ * padded_dim_);
  state.sum = take(scratch_rows_ * padded_dim_);
  state.scores = take(scratch_rows_ * kBlockKeys);
  state.keys = reinterpret_cast<std::byte*>(take(padded_dim_ * kBlockKeys));
  state.values = reinterpret_cast<std::byte*>(take(padded_dim_ * kBlockKeys));
  state.split =
      reinterpret_cast<std::byte*>(take((scratch_rows_ + 16) * (padded_dim_ + kBlockKeys)));
  state.weight = take(scratch_rows_ * 16);
  state.top = take(scratch_rows_);
  return state;
}

void Attention::Attend(const Call& call, const Item& item, int thread) const {
  const BatchSequence& sequence = call.batch.sequences[item.sequence];
  const int64_t group = call.group();
  AttendState state = StateFor(thread, item.count * group);
  const float scale = 1.0f / std::sqrt(static_cast<float>(head_dim_));
  for (int64_t r = 0; r < state.rows; ++r) {
    const float* q = call.row(sequence.offset + item.first + r / group) +
                     (item.head * group + r % group) * head_dim_;
    float* to = state.q + r * padded_dim_;
    for (int64_t d = 0; d < head_dim_; ++d) to[d] = q[d] * scale;
    std::fill(to + head_dim_, to + padded_dim_, 0.0f);
  }
  kernels_.begin_rows(state);
  AttendKept(call, row_views_[item.row_view], state);
  AttendPositions(call, item, state);
  for (int64_t r = 0; r < state.rows; ++r) {
    float* out = call.out.f32() + (sequence.offset + item.first + r / group) * call.out.cols +
                 (item.head * group + r % group) * head_dim_;
    kernels_.end_row(state, r, out);
  }
}

// Every query of the chunk sees the whole kept list: it ends where the first query's window begins.
void Attention::AttendKept(const Call&, const RowView& row, AttendState& state) const {
  std::vector<uint64_t> visible;
  for (int64_t base = 0; base < row.kept_tokens; base += kBlockKeys) {
    KeyBlock block;
    block.count = static_cast<int>(std::min<int64_t>(kBlockKeys, row.kept_tokens - base));
    block.in_pages = BitRange(0, block.count, 0);
    for (int j = 0; j < block.count; ++j) {
      const int64_t index = base + j;
      const PageId page = row.kept[static_cast<size_t>(index / page_tokens_)];
      block.key[j] = Token(page, index % page_tokens_);
      block.value[j] = Token(page, index % page_tokens_) + value_offset_;
    }
    visible.assign(static_cast<size_t>(state.rows), block.in_pages);
    kernels_.load_block(state, block);
    kernels_.attend_block(state, visible.data(), block.count);
  }
}

void Attention::AttendPositions(const Call& call, const Item& item, AttendState& state) const {
  const BatchSequence& sequence = call.batch.sequences[item.sequence];
  const RowView& row = row_views_[item.row_view];
  const int64_t group = call.group();
  const int64_t first = sequence.position + item.first;
  const int64_t last = first + item.count - 1;
  const int64_t window = WindowStart(row.spec, first, page_tokens_);
  const float* chunk_key = call.row(sequence.offset) + (call.heads + item.head) * head_dim_;
  std::vector<uint64_t> visible(static_cast<size_t>(state.rows));
  for (int64_t base = 0; base <= last; base += kBlockKeys) {
    // What any query of the item sees: the first's window reaches back farthest.
    const uint64_t present =
        BitRange(0, std::min(row.spec.sinks, last + 1), base) | BitRange(window, last + 1, base);
    if (present == 0) continue;
    KeyBlock block;
    block.count = 64 - __builtin_clzll(present);
    block.in_pages = BitRange(0, sequence.position, base);
    for (int j = 0; j < block.count; ++j) {
      const int64_t position = base + j;
      block.key[j] = block.value[j] = nullptr;
      if ((present >> j & 1) == 0) continue;
      if (position < sequence.position) {
        const std::byte* token = Token(row.PageAt(position), position % page_tokens_);
        block.key[j] = token;
        block.value[j] = token + value_offset_;
      } else {
        const float* key = chunk_key + (position - sequence.position) * call.qkv.cols;
        block.key[j] = key;
        block.value[j] = key + call.kv_heads * head_dim_;
      }
    }
    // Not below the window: what lies between the sinks and the window has no page any more.
    PrefetchBlock(row, std::max(base + kBlockKeys, window), std::min(sequence.position, last + 1));
    for (int64_t q = 0; q < item.count; ++q) {
      const uint64_t bits = VisibleBits(row.spec, first + q, page_tokens_, base);
      std::fill_n(visible.begin() + q * group, group, bits);
    }
    kernels_.load_block(state, block);
    kernels_.attend_block(state, visible.data(), block.count);
  }
}

// Pages lie anywhere, so the hardware cannot foresee the next one.
void Attention::PrefetchBlock(const RowView& row, int64_t base, int64_t end) const {
  end = std::min(end, base + kBlockKeys);
  for (int64_t position = base; position < end; position += page_tokens_) {
    const std::byte* page = Token(row.PageAt(position), 0);
    const int64_t bytes = std::min(page_bytes_, 2 * kBlockKeys * token_bytes_);
    for (int64_t i = 0; i < bytes; i += 64) __builtin_prefetch(page + i);
  }
}

// Positions that the next query still sees; a gated row's whole chunk, because what survives is
// decided when the step commits.
void Attention::Append(const Call& call, size_t sequence_index, int64_t head) const {
  const BatchSequence& sequence = call.batch.sequences[sequence_index];
  const RowView& row =
      row_views_[sequence_index * static_cast<size_t>(call.kv_heads) + static_cast<size_t>(head)];
  const int64_t next = sequence.position + sequence.length;
  for (int64_t i = 0; i < sequence.length; ++i) {
    const int64_t position = sequence.position + i;
    if (row.spec.head_class != HeadClass::kGated &&
        !InSinksOrWindow(row.spec, position, next, page_tokens_)) {
      continue;
    }
    const float* key = call.row(sequence.offset + i) + (call.heads + head) * head_dim_;
    const float* value = key + call.kv_heads * head_dim_;
    std::byte* to = Token(row.PageAt(position), position % page_tokens_);
    if (dtype_ == DType::kF32) {
      std::memcpy(to, key, static_cast<size_t>(token_bytes_));
      std::memcpy(to + value_offset_, value, static_cast<size_t>(token_bytes_));
    } else {
      kernels_.to_bf16(key, reinterpret_cast<uint16_t*>(to), head_dim_);
      kernels_.to_bf16(value, reinterpret_cast<uint16_t*>(to + value_offset_), head_dim_);
    }
  }
}

}  // namespace headgate
