// Virtual time: what happens next. Events of equal time happen in the order they were pushed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

namespace headgate::sim {

enum class EventKind : uint8_t {
  kArrive,      // a burst of clients
  kCancel,      // id = request
  kReplay,      // id = request: its server died, another one sends it again
  kStepDone,    // id = life of the group
  kLateResult,  // id = index of a kept result
  kDown,        // the scheduler hears of it; id = life
  kUp,          // the group is back; id = life
  kTick,        // the scheduler asked to be called
  kFaultsStop,
};

struct Event {
  int64_t time_us = 0;
  uint64_t order = 0;
  EventKind kind = EventKind::kTick;
  int group = 0;
  uint64_t id = 0;
};

class EventHeap {
 public:
  void Push(int64_t time_us, EventKind kind, int group = 0, uint64_t id = 0) {
    events_.push_back({time_us, next_order_++, kind, group, id});
    std::push_heap(events_.begin(), events_.end(), Later);
  }
  // REQUIRES: not empty.
  Event Pop() {
    std::pop_heap(events_.begin(), events_.end(), Later);
    const Event event = events_.back();
    events_.pop_back();
    return event;
  }
  int64_t next_us() const { return events_.front().time_us; }  // REQUIRES: not empty
  bool empty() const { return events_.empty(); }

 private:
  static bool Later(const Event& a, const Event& b) {
    return a.time_us != b.time_us ? a.time_us > b.time_us : a.order > b.order;
  }

  std::vector<Event> events_;
  uint64_t next_order_ = 0;
};

}  // namespace headgate::sim
