// What a server counts about its requests; metrics/ exports it. Thread safe.
#pragma once

#include <mutex>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "base/stats.h"

namespace headgate {

class ServerCounters final {
 public:
  ServerCounters();

  void Started();
  void PromptTokens(int64_t tokens);
  // One token arrived for a request; `since` is the time since the request began (first token) or
  // since its last token.
  void Token(bool first, absl::Duration since);
  void SlowReader();
  // Bytes of answers that wait to be written: `change` more (or fewer).
  void Unwritten(int64_t change);
  void Ended(const absl::Status& status, absl::Duration took);

  ServerStats Stats() const;

 private:
  mutable std::mutex mutex_;
  ServerStats stats_;
};

}  // namespace headgate
