// What a worker group tells the scheduler when it is ready: enough to count pages and sequences,
// nothing more.
#pragma once

#include <cstdint>
#include <vector>

#include "base/ids.h"

namespace headgate {

// Which positions a kv head keeps is data: see kvstore/visibility.h for the definition of Vis.
enum class HeadClass : uint8_t { kFull, kStreaming, kGated };

// `rows` kv heads (over all layers) of one rank that share a class.
struct RowGroup {
  HeadClass head_class = HeadClass::kFull;
  uint32_t rows = 0;
  int64_t sinks = 0;   // tokens, a multiple of page_tokens; 0 for full rows
  int64_t window = 0;  // tokens, a multiple of page_tokens; 0 for full rows

  bool operator==(const RowGroup&) const = default;
};

// Of a rank whose tables grow as they must: its pages alone limit how many sequences it holds.
inline constexpr int64_t kSequencesUnlimited = int64_t{1} << 30;

struct RankShape {
  uint32_t pages_total = 0;
  uint64_t page_bytes = 0;
  int64_t sequences_max = kSequencesUnlimited;  // that it can hold at once
  std::vector<RowGroup> rows;

  bool operator==(const RankShape&) const = default;
};

struct GroupShape {
  Epoch epoch = 0;
  int64_t page_tokens = 0;
  int64_t max_positions = 0;  // longest sequence the model takes
  int64_t vocab = 0;
  std::vector<RankShape> ranks;

  bool operator==(const GroupShape&) const = default;
};

}  // namespace headgate
