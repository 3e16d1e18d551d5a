// What a server takes from clients at most. docs/api.md repeats the defaults.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "base/ids.h"

namespace headgate {

struct ServerLimits {
  size_t prompt_bytes_max = size_t{8} << 20;
  size_t pending_bytes_max = 256 << 10;                 // not yet written to one stream
  absl::Duration write_stall_max = absl::Seconds(30);   // one write without progress
  absl::Duration deadline_default = absl::Minutes(10);  // when the client sets none
  absl::Duration deadline_max = absl::Hours(1);
  int64_t output_tokens_default = 256;
};

// The model that a server serves. Numbers come from its config.json.
struct ServedModel {
  std::string name;
  int64_t max_positions = 0;
  int64_t vocab = 0;
  std::vector<TokenId> end_tokens;  // its own end-of-sequence tokens
};

}  // namespace headgate
