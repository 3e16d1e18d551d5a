// Finds stop strings in a text that arrives in pieces. Text that may still become a stop string is
// held back; what is given out never contains one, however the text was cut. One stream each;
// belongs to one thread.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace headgate {

class StopMatcher final {
 public:
  explicit StopMatcher(std::vector<std::string> stops) : stops_(std::move(stops)) {}

  // The text that is certain to be output. After a match (the stop string that ends first, and of
  // those the longest) it is what stood before it, and everything later is empty.
  std::string Push(std::string_view text);

  // End of stream without a match: what was held back.
  std::string Finish();

  bool matched() const { return matched_; }

 private:
  size_t HeldBack() const;

  const std::vector<std::string> stops_;
  std::string held_;
  bool matched_ = false;
};

}  // namespace headgate
