// The one tile configuration that all AMX kernels use. Only included by files with AMX flags.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace headgate {
namespace {

struct alignas(64) TileConfig {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// Tiles 0-3: sums, `a_rows` x 16 fp32. Tiles 4, 5: left factor, a_rows x 32 bf16. Tiles 6, 7: right
// factor, 16 pairs of inputs x 16 outputs. Sets the calling thread's tiles to zero.
[[maybe_unused]] void ConfigureTiles(int a_rows) {
  TileConfig config;
  for (int i = 0; i < 8; ++i) {
    config.row_bytes[i] = 64;
    config.rows[i] = static_cast<uint8_t>(i < 6 ? a_rows : 16);
  }
  asm volatile("ldtilecfg %0" ::"m"(config));
}

}  // namespace
}  // namespace headgate
