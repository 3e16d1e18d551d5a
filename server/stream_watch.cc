#include "server/stream_watch.h"

#include <utility>

#include "absl/time/clock.h"

namespace headgate {

StreamWatch::StreamWatch(absl::Duration period) : period_(period), thread_([this] { Run(); }) {}

StreamWatch::~StreamWatch() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  thread_.join();
}

void StreamWatch::Add(Check check) {
  std::lock_guard lock(mutex_);
  checks_.push_back(std::move(check));
}

void StreamWatch::Run() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    wake_.wait_for(lock, absl::ToChronoMilliseconds(period_));
    std::list<Check> looked_at = std::move(checks_);
    checks_.clear();
    lock.unlock();
    const absl::Time now = absl::Now();
    looked_at.remove_if([now](const Check& check) { return !check(now); });
    lock.lock();
    checks_.splice(checks_.end(), looked_at);
  }
}

}  // namespace headgate
