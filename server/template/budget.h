// Counts what one render uses against its TemplateLimits. One thread (that of the render).
#pragma once

#include <cstddef>
#include <cstdint>

#include "absl/status/status.h"
#include "server/template/limits.h"

namespace headgate::jinja {

class Budget {
 public:
  explicit Budget(const TemplateLimits& limits) : limits_(limits) {}

  const TemplateLimits& limits() const { return limits_; }

  // All three: RESOURCE_EXHAUSTED once the limit is passed.
  absl::Status Step(size_t count = 1) {
    steps_ += static_cast<int64_t>(count);
    if (steps_ <= limits_.steps_max) return absl::OkStatus();
    return Exhausted("steps", static_cast<size_t>(limits_.steps_max));
  }

  // Called before the bytes are allocated wherever the size is known beforehand.
  absl::Status Allocate(size_t bytes) {
    if (bytes <= limits_.memory_bytes_max - bytes_) {
      bytes_ += bytes;
      return absl::OkStatus();
    }
    return Exhausted("bytes of memory", limits_.memory_bytes_max);
  }

  // A string of `bytes` bytes: counted as memory, and none may pass the output limit.
  absl::Status AllocateString(size_t bytes) {
    if (bytes > limits_.output_bytes_max)
      return Exhausted("bytes of text", limits_.output_bytes_max);
    return Allocate(bytes);
  }

  // Reading `bytes` bytes of text costs a step for every 64.
  absl::Status Scan(size_t bytes) { return Step(bytes / 64); }

 private:
  static absl::Status Exhausted(const char* what, size_t limit);

  const TemplateLimits limits_;
  int64_t steps_ = 0;
  size_t bytes_ = 0;
};

}  // namespace headgate::jinja
