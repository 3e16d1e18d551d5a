#include "server/stop_matcher.h"

#include <algorithm>
#include <utility>

namespace headgate {

std::string StopMatcher::Push(std::string_view text) {
  if (matched_) return {};
  held_.append(text);
  size_t begin = std::string::npos;
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) {
    const size_t at = held_.find(stop);
    if (at == std::string::npos) continue;
    const size_t stop_end = at + stop.size();
    if (end == std::string::npos || stop_end < end || (stop_end == end && at < begin)) {
      begin = at;
      end = stop_end;
    }
  }
  matched_ = end != std::string::npos;
  const size_t certain = matched_ ? begin : held_.size() - HeldBack();
  std::string out = held_.substr(0, certain);
  held_.erase(0, matched_ ? held_.size() : certain);
  return out;
}

std::string StopMatcher::Finish() { return std::exchange(held_, {}); }

// Length of the longest end of held_ that a stop string begins with.
size_t StopMatcher::HeldBack() const {
  size_t longest = 0;
  for (const std::string& stop : stops_) {
    for (size_t n = std::min(stop.size() - 1, held_.size()); n > longest; --n) {
      if (std::string_view(held_).substr(held_.size() - n) == std::string_view(stop).substr(0, n)) {
        longest = n;
      }
    }
  }
  return longest;
}

}  // namespace headgate
