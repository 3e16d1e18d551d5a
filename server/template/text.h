// A string that remembers, byte by byte, where it came from: trusted bytes are the template's own
// literals (and bos/eos tokens), the others derive from the request. Only trusted text may later be
// read as control tokens. Value type; one thread.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace headgate::jinja {

// Bytes up to `end` (from the span before, or 0) share one provenance.
struct Span {
  size_t end = 0;
  bool trusted = false;
};

class Text {
 public:
  Text() = default;
  Text(std::string bytes, bool trusted);

  std::string_view view() const { return bytes_; }
  size_t size() const { return bytes_.size(); }
  bool empty() const { return bytes_.empty(); }
  // Neighbours differ in provenance; none is empty.
  const std::vector<Span>& spans() const { return spans_; }
  bool trusted() const;  // every byte; true when empty
  size_t memory_bytes() const {
    return sizeof(Text) + bytes_.size() + spans_.size() * sizeof(Span);
  }

  void Append(std::string_view bytes, bool trusted);
  void Append(const Text& other) { AppendRange(other, 0, other.size()); }
  // Bytes [begin, end) of `other` with their provenance. REQUIRES: begin <= end <= other.size();
  // `other` is not this object.
  void AppendRange(const Text& other, size_t begin, size_t end);
  Text Slice(size_t begin, size_t end) const;

 private:
  std::string bytes_;
  std::vector<Span> spans_;
};

}  // namespace headgate::jinja
