// Looks at every open stream now and then, for the one thing that no event tells: that a client has
// stopped reading. Thread safe.
#pragma once

#include <condition_variable>
#include <functional>
#include <list>
#include <mutex>
#include <thread>

#include "absl/time/time.h"

namespace headgate {

class StreamWatch final {
 public:
  // Returns false when it need not be called again. It keeps alive what it looks at.
  using Check = std::function<bool(absl::Time now)>;

  explicit StreamWatch(absl::Duration period);
  ~StreamWatch();

  void Add(Check check);

 private:
  void Run();

  const absl::Duration period_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Check> checks_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace headgate
