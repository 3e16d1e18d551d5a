// DuoAttention's head pattern: how much each kv head needs full attention (arXiv 2410.10819).
// Files as mit-han-lab/duo-attention publishes them: full_attention_heads.tsv has a row a layer and
// a column a kv head; config.json has sink_size and recent_size. Loaded once, at start-up.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace headgate {

inline constexpr uint64_t kPolicyFileBytesMax = uint64_t{4} << 20;  // of one file of a bundle
inline constexpr int kPolicyJsonDepthMax = 16;
inline constexpr int64_t kWindowMax = int64_t{1} << 20;  // most sinks or recent tokens

struct HeadPattern {
  int64_t layers = 0;
  int64_t kv_heads = 0;
  std::vector<double> gates;  // [layers, kv_heads]; 0 = streaming .. 1 = full attention
  int64_t sinks = 0;          // tokens; sink_size in training
  int64_t recent = 0;         // tokens; recent_size in training
};

// INVALID_ARGUMENT names file, row and column (from 1); else as ReadSmallFile and
// ParseStrictJson.
absl::StatusOr<HeadPattern> LoadHeadPattern(const std::string& folder);

// The two files' text; `name` is the folder, for messages.
absl::StatusOr<HeadPattern> ParseHeadPattern(absl::string_view tsv, absl::string_view config_json,
                                             absl::string_view name);

// True = full attention, [layers, kv_heads]. As published, a head is full when its gate reaches the
// `sparsity` quantile of all gates (all stream at 1), so ceil((n - 1) * sparsity) of n heads
// stream. Equal gates stream in (layer, head) order: no random noise, every rank decides alike.
// REQUIRES: 0 <= sparsity <= 1.
std::vector<bool> FullHeadsBySparsity(const HeadPattern& pattern, double sparsity);

// True = full attention: the gate is `threshold` or more.
std::vector<bool> FullHeadsByThreshold(const HeadPattern& pattern, double threshold);

}  // namespace headgate
