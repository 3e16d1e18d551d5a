// out = x * w^T with AMX bf16 tiles. x = high + low in bf16 (16 bits of every activation); int4,
// int8 and bf16 weights are exact in bf16, so nothing else is rounded before the fp32 sums.
//
// Arithmetic of one output, the same for every row count: per group of 32 inputs
//   t = tile product of high, then of low added to it;
//   acc = fma(scale, t, acc); int4 also acc = fma(minimum, sum of x over the group, acc)
// bf16 weights: the sums of high and of low over all inputs, each in one tile, added at the end.
// A tile product's rows do not affect each other. Only included by kernels_amx.cc.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "worker/cpu/amx_config.h"
#include "worker/cpu/kernel_table.h"

namespace headgate {
namespace {

constexpr int kTileRows = 16;
constexpr int64_t kPairRows = 16;       // of a group of 32 inputs
constexpr int64_t kTileValues = 512;    // bf16 of a full tile
constexpr int64_t kChunkGroups = 8;     // decoded at once: 2 panels of 8 KiB stay in L1
constexpr int64_t kRowBlock = 16 * 16;  // rows whose chunk of activations stays in L2
// Scratch: products, decoded weights, sums of a block of rows and two panels.
constexpr int64_t kProductBytes = 4 * 1024;
constexpr int64_t kDecodedBytes = 2 * kChunkGroups * kTileValues * 2;
constexpr int64_t kSumBytes = 2 * kRowBlock * 16 * 4;
static_assert(kProductBytes + kDecodedBytes + kSumBytes <= kMatMulScratchBytes);

// The compiler must not move plain stores and loads across tile instructions.
[[gnu::always_inline]] inline void TileFence() { asm volatile("" ::: "memory"); }

// Few rows times quantised weights: several groups share a product. Row (group % slots) * 2 *
// height
// + r of a group's left-hand tile is the high part of row r, `height` further down its low part;
// the rows of other slots are 0. 8 rows where that suffices: a product takes as many cycles as its
// left-hand tile has rows, but not fewer than about 10 (measured on Emerald Rapids).
constexpr int64_t kFewRows = 4;
constexpr int StackSlots(int64_t height) { return height == 1 ? 4 : 2; }

// KernelTable::prepare at this level: the bf16 halves.
void SplitRows(const PreparedRows& rows, int64_t begin, int64_t end) {
  const int64_t height = end - begin;
  const int64_t slots = rows.grouped && height <= kFewRows ? StackSlots(height) : 1;
  const int64_t group_values = slots * height * 64;
  uint16_t* tile = rows.split + begin * rows.groups * 64;
  if (slots > 1) {
    for (int64_t i = 0; i < rows.groups * group_values; i += 32) {
      _mm512_storeu_si512(tile + i, _mm512_setzero_si512());
    }
  }
  for (int64_t r = 0; r < height; ++r) {
    const float* x = rows.x + (begin + r) * rows.ldx;
    for (int64_t i = 0; i < rows.groups * 2; ++i) {  // 16 inputs
      const int64_t left = rows.ldx - i * 16;
      const __mmask16 present =
          left >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>(left > 0 ? (1 << left) - 1 : 0);
      const __m512 v = _mm512_maskz_loadu_ps(present, x + i * 16);
      const __m256i high = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
      const __m512 back = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(high), 16));
      const __m256i low = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(_mm512_sub_ps(v, back)));
      const int64_t g = i / 2;
      uint16_t* to = tile + g * group_values + (g % slots * 2 * height + r) * 32 + i % 2 * 16;
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), high);
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(to + height * 32), low);
    }
  }
}

// A group's 32 x 16 integers as a right-hand tile: [16 pairs of inputs][16 outputs][2].
[[gnu::always_inline]] inline void DecodeInt4(const std::byte* group, uint16_t* to) {
  alignas(64) static constexpr uint16_t kBf16[32] = {
      // 0..15, twice: five bits are looked up
      0x0000, 0x3F80, 0x4000, 0x4040, 0x4080, 0x40A0, 0x40C0, 0x40E0, 0x4100, 0x4110, 0x4120,
      0x4130, 0x4140, 0x4150, 0x4160, 0x4170, 0x0000, 0x3F80, 0x4000, 0x4040, 0x4080, 0x40A0,
      0x40C0, 0x40E0, 0x4100, 0x4110, 0x4120, 0x4130, 0x4140, 0x4150, 0x4160, 0x4170};
  const __m512i table = _mm512_load_si512(kBf16);
  for (int v = 0; v < 4; ++v, to += 128) {
    const __m512i words = _mm512_load_si512(group + v * 64);
    _mm512_store_si512(to, _mm512_permutexvar_epi16(words, table));
    _mm512_store_si512(to + 32, _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 4), table));
    _mm512_store_si512(to + 64, _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 8), table));
    _mm512_store_si512(to + 96, _mm512_permutexvar_epi16(_mm512_srli_epi16(words, 12), table));
  }
}

[[gnu::always_inline]] inline __m512i Int8ToFloatBits(const std::byte* bytes) {
  const __m128i b = _mm_load_si128(reinterpret_cast<const __m128i*>(bytes));
  return _mm512_castps_si512(_mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(b)));
}

[[gnu::always_inline]] inline void DecodeInt8(const std::byte* group, uint16_t* to) {
  for (int pair = 0; pair < kPairRows; ++pair, group += 32, to += 32) {
    // Seven bits and a sign are exact in bf16: the low half of each float is 0.
    const __m512i even = _mm512_srli_epi32(Int8ToFloatBits(group), 16);
    const __m512i odd = Int8ToFloatBits(group + 16);
    _mm512_store_si512(to, _mm512_mask_blend_epi16(0xAAAAAAAAu, even, odd));
  }
}

// One tile of rows, one panel, some groups of quantised weights.
struct GroupedTile {
  const uint16_t* x = nullptr;       // split activations, [groups][high, low][rows][32]
  const uint16_t* w = nullptr;       // decoded, [groups][512]
  const uint16_t* scales = nullptr;  // [groups][16]
  const uint16_t* minima = nullptr;  // the same, or null
  const float* sums = nullptr;       // [rows][sums_stride]
  int64_t sums_stride = 0;
  int64_t groups = 0;
  float* acc = nullptr;  // [rows][16], between chunks: rows of `out` may all share a cache set
  bool first = false;    // chunk of the inputs: acc holds nothing yet
  bool last = false;     // the sums go to `out`
  float* out = nullptr;
  int64_t ldo = 0;
  __mmask16 lanes = 0;
  float* products = nullptr;  // 2 x 16 x 16 floats of scratch
};

// Loads group g's factors, multiplies, stores the product. C, W: tile numbers, two sets in turn.
#define HEADGATE_TILE_PRODUCT(C, W, g)                     \
  do {                                                     \
    _tile_loadd(4, a.x + (g)*kRows * 64, 64);              \
    _tile_loadd(W, a.w + (g)*kTileValues, 64);             \
    _tile_zero(C);                                         \
    _tile_dpbf16ps(C, 4, W);                               \
    _tile_loadd(5, a.x + (g)*kRows * 64 + kRows * 32, 64); \
    _tile_dpbf16ps(C, 5, W);                               \
    _tile_stored(C, a.products + (C)*256, 64);             \
  } while (false)

[[gnu::always_inline]] inline __m512 LoadF16x16(const uint16_t* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}

template <int kRows>
[[gnu::always_inline]] inline void LoadSums(const GroupedTile& a, __m512 (&acc)[kRows]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    acc[r] = a.first ? _mm512_setzero_ps() : _mm512_load_ps(a.acc + r * 16);
  }
}

template <int kRows>
[[gnu::always_inline]] inline void StoreSums(const GroupedTile& a, const __m512 (&acc)[kRows]) {
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    if (a.last) {
      _mm512_mask_storeu_ps(a.out + r * a.ldo, a.lanes, acc[r]);
    } else {
      _mm512_store_ps(a.acc + r * 16, acc[r]);
    }
  }
}

template <int kRows, bool kMinima>
[[gnu::always_inline]] inline void ScaleProduct(const GroupedTile& a, int64_t g, int set,
                                                __m512 (&acc)[kRows]) {
  const float* product = a.products + set * 256;
  const __m512 scale = LoadF16x16(a.scales + g * 16);
  __m512 minimum = _mm512_setzero_ps();
  if constexpr (kMinima) minimum = LoadF16x16(a.minima + g * 16);
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
    acc[r] = _mm512_fmadd_ps(scale, _mm512_load_ps(product + r * 16), acc[r]);
    if constexpr (kMinima) {
      acc[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(a.sums[r * a.sums_stride + g]), acc[r]);
    }
  }
}

// The product of group g + 1 is under way while group g is scaled.
template <int kRows, bool kMinima>
void MultiplyGroups(const GroupedTile& a) {
  __m512 acc[kRows];
  LoadSums<kRows>(a, acc);
  HEADGATE_TILE_PRODUCT(0, 6, 0);
  int64_t g = 1;
  for (; g + 1 < a.groups; g += 2) {
    HEADGATE_TILE_PRODUCT(1, 7, g);
    ScaleProduct<kRows, kMinima>(a, g - 1, 0, acc);
    HEADGATE_TILE_PRODUCT(0, 6, g + 1);
    ScaleProduct<kRows, kMinima>(a, g, 1, acc);
  }
  if (g < a.groups) {
    HEADGATE_TILE_PRODUCT(1, 7, g);
    ScaleProduct<kRows, kMinima>(a, g - 1, 0, acc);
    ScaleProduct<kRows, kMinima>(a, g, 1, acc);
  } else {
    ScaleProduct<kRows, kMinima>(a, g - 1, 0, acc);
  }
  StoreSums<kRows>(a, acc);
}

#undef HEADGATE_TILE_PRODUCT

// The same products for few rows. One product gives the high and low parts of all slots, and one
// store. Adding 0 * weight is exact, and high + low is what the second product of MultiplyGroups
// adds: the same bits.
template <int kHeight, bool kMinima>
[[gnu::always_inline]] inline void ScaleStack(const GroupedTile& a, int64_t g, int64_t count,
                                              int set, __m512 (&acc)[kHeight]) {
  const float* product = a.products + set * 256;
  for (const int64_t end = g + count; g < end; ++g, product += 2 * kHeight * 16) {
    const __m512 scale = LoadF16x16(a.scales + g * 16);
    __m512 minimum = _mm512_setzero_ps();
    if constexpr (kMinima) minimum = LoadF16x16(a.minima + g * 16);
#pragma GCC unroll 8
    for (int r = 0; r < kHeight; ++r) {
      const __m512 t = _mm512_add_ps(_mm512_load_ps(product + r * 16),
                                     _mm512_load_ps(product + (kHeight + r) * 16));
      acc[r] = _mm512_fmadd_ps(scale, t, acc[r]);
      if constexpr (kMinima) {
        acc[r] = _mm512_fmadd_ps(minimum, _mm512_set1_ps(a.sums[r * a.sums_stride + g]), acc[r]);
      }
    }
  }
}

#define HEADGATE_STACK_PRODUCT(C, g, count)                \
  do {                                                     \
    _tile_zero(C);                                         \
    for (int64_t j = (g); j < (g) + (count); ++j) {        \
      _tile_loadd(4, a.x + j * kSlots * kHeight * 64, 64); \
      _tile_loadd(6, a.w + j * kTileValues, 64);           \
      _tile_dpbf16ps(C, 4, 6);                             \
    }                                                      \
    _tile_stored(C, a.products + (C)*256, 64);             \
  } while (false)

template <int kHeight, bool kMinima>
void MultiplyStacks(const GroupedTile& a) {
  constexpr int64_t kSlots = StackSlots(kHeight);
  __m512 acc[kHeight];
  LoadSums<kHeight>(a, acc);
  const auto count = [&a](int64_t g) { return a.groups - g < kSlots ? a.groups - g : kSlots; };
  HEADGATE_STACK_PRODUCT(0, 0, count(0));
  for (int64_t g = 0; g < a.groups; g += 2 * kSlots) {
    const int64_t second = g + kSlots, third = second + kSlots;
    if (second < a.groups) HEADGATE_STACK_PRODUCT(1, second, count(second));
    ScaleStack<kHeight, kMinima>(a, g, count(g), 0, acc);
    if (second >= a.groups) break;
    if (third < a.groups) HEADGATE_STACK_PRODUCT(0, third, count(third));
    ScaleStack<kHeight, kMinima>(a, second, count(second), 1, acc);
  }
  StoreSums<kHeight>(a, acc);
}

#undef HEADGATE_STACK_PRODUCT

// MultiplyStacks for a height known at run time only, 1 to kHeight.
template <int kHeight>
void MultiplyStacksOf(int64_t height, const GroupedTile& a) {
  if constexpr (kHeight > 1) {
    if (height < kHeight) return MultiplyStacksOf<kHeight - 1>(height, a);
  }
  if (a.minima != nullptr) {
    MultiplyStacks<kHeight, true>(a);
  } else {
    MultiplyStacks<kHeight, false>(a);
  }
}

// MultiplyGroups for a height known at run time only, above kFewRows.
template <int kRows>
void MultiplyGroupsOf(int64_t height, const GroupedTile& a) {
  if constexpr (kRows > kFewRows + 1) {
    if (height < kRows) return MultiplyGroupsOf<kRows - 1>(height, a);
  }
  if (a.minima != nullptr) {
    MultiplyGroups<kRows, true>(a);
  } else {
    MultiplyGroups<kRows, false>(a);
  }
}

// A run of rows that has one tile configuration: `tiles` tiles of `height` rows.
struct RowRun {
  int64_t begin = 0;
  int64_t height = 0;
  int64_t tiles = 0;
};

__mmask16 PanelLanes(const PanelView& w, int64_t panel) {
  const int64_t left = w.outputs - panel * 16;
  return left >= 16 ? __mmask16{0xFFFF} : static_cast<__mmask16>((1 << left) - 1);
}

// Weights of the panels that come next: chunks are too short for the hardware to foresee them. The
// end of a matrix prefetches what lies behind it, which is harmless.
[[gnu::always_inline]] inline void Prefetch(const std::byte* from, int64_t bytes) {
  for (int64_t i = 0; i < bytes; i += 64) _mm_prefetch(from + i, _MM_HINT_T0);
}

// kPanels panels, one chunk of groups, all tiles of the run.
template <int kPanels>
void MultiplyChunk(const MatMulCall& call, const RowRun& run, int64_t panel, int64_t group,
                   int64_t groups, std::byte* scratch) {
  const PanelView& w = call.weights;
  uint16_t* decoded = reinterpret_cast<uint16_t*>(scratch + kProductBytes);
  const bool int4 = w.format == PanelFormat::kInt4;
  const int64_t group_bytes = int4 ? 256 : 512;
  for (int p = 0; p < kPanels; ++p) {
    const std::byte* from = w.data + (panel + p) * w.stride + group * group_bytes;
    uint16_t* to = decoded + p * kChunkGroups * kTileValues;
    const std::byte* next = w.data + (panel + p + kPanels) * w.stride + group * 32;
    Prefetch(next + w.scales_begin, groups * 32);
    if (int4) Prefetch(next + w.minima_begin, groups * 32);
    for (int64_t g = 0; g < groups; ++g, from += group_bytes, to += kTileValues) {
      Prefetch(from + kPanels * w.stride, group_bytes);
      if (int4) {
        DecodeInt4(from, to);
      } else {
        DecodeInt8(from, to);
      }
    }
  }
  const bool few = run.height <= kFewRows;
  const int64_t group_values = run.height * 64 * (few ? StackSlots(run.height) : 1);
  TileFence();
  for (int64_t t = 0; t < run.tiles; ++t) {
    const int64_t row = run.begin + t * run.height;
    for (int p = 0; p < kPanels; ++p) {
      const std::byte* data = w.data + (panel + p) * w.stride;
      GroupedTile a;
      a.x = call.rows.split + row * w.groups * 64 + group * group_values;
      a.w = decoded + p * kChunkGroups * kTileValues;
      a.scales = reinterpret_cast<const uint16_t*>(data + w.scales_begin) + group * 16;
      if (int4) a.minima = reinterpret_cast<const uint16_t*>(data + w.minima_begin) + group * 16;
      if (int4) a.sums = call.rows.sums + row * w.groups + group;
      a.sums_stride = w.groups;
      a.groups = groups;
      a.out = call.out + row * call.ldo + (panel + p) * 16;
      a.ldo = call.ldo;
      a.lanes = PanelLanes(w, panel + p);
      a.acc = reinterpret_cast<float*>(scratch + kProductBytes + kDecodedBytes) +
              (t * kPanels + p) * 256;
      a.first = group == 0;
      a.last = group + groups == w.groups;
      a.products = reinterpret_cast<float*>(scratch);
      if (few) {
        MultiplyStacksOf<kFewRows>(run.height, a);
      } else {
        MultiplyGroupsOf<kTileRows>(run.height, a);
      }
    }
  }
}

// bf16 weights: all groups of one tile of rows and one or two panels (w1 may be w0).
void MultiplyBf16(const uint16_t* x, int64_t height, const uint16_t* w0, const uint16_t* w1,
                  int64_t groups, float* products) {
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  for (int64_t g = 0; g < groups; ++g) {
    _tile_loadd(4, x + g * height * 64, 64);
    _tile_loadd(5, x + g * height * 64 + height * 32, 64);
    _tile_loadd(6, w0 + g * kTileValues, 64);
    _tile_loadd(7, w1 + g * kTileValues, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, products, 64);
  _tile_stored(1, products + 256, 64);
  _tile_stored(2, products + 512, 64);
  _tile_stored(3, products + 768, 64);
}

void MultiplyBf16Panels(const MatMulCall& call, const RowRun& run, int64_t begin, int64_t end,
                        float* products) {
  const PanelView& w = call.weights;
  for (int64_t panel = begin; panel < end; panel += 2) {
    const int64_t second = panel + 1 < end ? panel + 1 : panel;
    for (int64_t t = 0; t < run.tiles; ++t) {
      const int64_t row = run.begin + t * run.height;
      MultiplyBf16(call.rows.split + row * w.groups * 64, run.height,
                   reinterpret_cast<const uint16_t*>(w.data + panel * w.stride),
                   reinterpret_cast<const uint16_t*>(w.data + second * w.stride), w.groups,
                   products);
      for (int64_t p = panel; p <= second; ++p) {
        const float* high = products + (p - panel) * 256;
        for (int64_t r = 0; r < run.height; ++r) {
          const __m512 sum =
              _mm512_add_ps(_mm512_load_ps(high + r * 16), _mm512_load_ps(high + 512 + r * 16));
          _mm512_mask_storeu_ps(call.out + (row + r) * call.ldo + p * 16, PanelLanes(w, p), sum);
        }
      }
    }
  }
}

void MultiplyRun(const MatMulCall& call, const RowRun& run, int64_t begin, int64_t end,
                 std::byte* scratch) {
  const bool stacked = call.weights.grouped() && run.height <= kFewRows;
  ConfigureTiles(static_cast<int>(run.height) * (stacked ? 2 * StackSlots(run.height) : 1));
  if (call.weights.format == PanelFormat::kBF16) {
    MultiplyBf16Panels(call, run, begin, end, reinterpret_cast<float*>(scratch));
    return;
  }
  for (int64_t panel = begin; panel < end; panel += 2) {
    for (int64_t g = 0; g < call.weights.groups; g += kChunkGroups) {
      const int64_t left = call.weights.groups - g;
      const int64_t groups = left < kChunkGroups ? left : kChunkGroups;
      if (panel + 1 < end) {
        MultiplyChunk<2>(call, run, panel, g, groups, scratch);
      } else {
        MultiplyChunk<1>(call, run, panel, g, groups, scratch);
      }
    }
  }
}

// Full tiles in blocks of rows, then the rows that are left as one lower tile.
void MultiplyAllRows(const MatMulCall& call, int64_t begin, int64_t end, std::byte* scratch) {
  const int64_t full = call.rows.rows / kTileRows * kTileRows;
  for (int64_t row = 0; row < full; row += kRowBlock) {
    const int64_t rows = full - row < kRowBlock ? full - row : kRowBlock;
    MultiplyRun(call, {row, kTileRows, rows / kTileRows}, begin, end, scratch);
  }
  if (full < call.rows.rows) {
    MultiplyRun(call, {full, call.rows.rows - full, 1}, begin, end, scratch);
  }
  _tile_release();
}

}  // namespace
}  // namespace headgate
