#include "server/template/text.h"

#include <algorithm>
#include <utility>

#include "base/check.h"

namespace headgate::jinja {

Text::Text(std::string bytes, bool trusted) : bytes_(std::move(bytes)) {
  if (!bytes_.empty()) spans_.push_back({bytes_.size(), trusted});
}

bool Text::trusted() const {
  return spans_.empty() || (spans_.size() == 1 && spans_.front().trusted);
}

void Text::Append(std::string_view bytes, bool trusted) {
  if (bytes.empty()) return;
  bytes_.append(bytes);
  if (!spans_.empty() && spans_.back().trusted == trusted) {
    spans_.back().end = bytes_.size();
  } else {
    spans_.push_back({bytes_.size(), trusted});
  }
}

void Text::AppendRange(const Text& other, size_t begin, size_t end) {
  CHECK(begin <= end && end <= other.size()) << "Text::AppendRange";
  auto span = std::upper_bound(other.spans_.begin(), other.spans_.end(), begin,
                               [](size_t at, const Span& s) { return at < s.end; });
  while (begin < end) {
    const size_t stop = std::min(end, span->end);
    Append(other.view().substr(begin, stop - begin), span->trusted);
    begin = stop;
    ++span;
  }
}

Text Text::Slice(size_t begin, size_t end) const {
  Text slice;
  slice.AppendRange(*this, begin, end);
  return slice;
}

}  // namespace headgate::jinja
