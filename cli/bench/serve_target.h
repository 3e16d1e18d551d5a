// A server under measurement, seen by one client: Headgate over gRPC, or llama.cpp's llama-server
// over HTTP. Every stream opens at Stream() and ends with it. Thread safe: many threads call
// Stream().
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace headgate {

struct StreamTimes {
  absl::Duration first_token;  // from sending the request
  absl::Duration total;
  int64_t tokens = 0;  // output tokens
};

class ServeTarget {
 public:
  virtual ~ServeTarget() = default;
  virtual std::string name() const = 0;
  // Greedy, end tokens ignored, no prompt cache. UNAVAILABLE when the server cannot be reached.
  virtual absl::StatusOr<StreamTimes> Stream(std::span<const int32_t> prompt,
                                             int64_t max_tokens) = 0;
};

// `address`: host:port or unix:path.
std::unique_ptr<ServeTarget> MakeHeadgateTarget(const std::string& address);
// `host`:`port` of a llama-server (POST /completion).
std::unique_ptr<ServeTarget> MakeLlamaServerTarget(const std::string& host,
                                                   const std::string& port);

}  // namespace headgate
