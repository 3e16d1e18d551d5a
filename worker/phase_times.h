// How long each phase of a start took, from the reports of Worker::Progress. One thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/time/time.h"

namespace headgate {

struct PhaseTime {
  std::string phase;
  absl::Duration took;
};

class PhaseTimes {
 public:
  // `first`: what runs from `start` until the first report.
  PhaseTimes(std::string_view first, absl::Time start) : phase_(first), since_(start) {}

  // A report of another phase than the one before ends that one.
  void Report(std::string_view phase, absl::Time now);

  // Of the phases that have ended, in their order.
  const std::vector<PhaseTime>& ended() const { return ended_; }
  // "reading headers 0.01 s, loading weights 1.50 s"; phases below 5 ms are left out.
  std::string ToString() const;

 private:
  std::string phase_;
  absl::Time since_;
  std::vector<PhaseTime> ended_;
};

}  // namespace headgate
