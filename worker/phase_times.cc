#include "worker/phase_times.h"

#include "absl/strings/str_format.h"

namespace headgate {

void PhaseTimes::Report(std::string_view phase, absl::Time now) {
  if (phase == phase_) return;
  ended_.push_back({phase_, now - since_});
  phase_ = phase;
  since_ = now;
}

std::string PhaseTimes::ToString() const {
  std::string text;
  for (const PhaseTime& one : ended_) {
    if (one.took < absl::Milliseconds(5)) continue;
    absl::StrAppendFormat(&text, "%s%s %.2f s", text.empty() ? "" : ", ", one.phase,
                          absl::ToDoubleSeconds(one.took));
  }
  return text;
}

}  // namespace headgate
