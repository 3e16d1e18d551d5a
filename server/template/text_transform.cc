#include "server/template/text_transform.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "base/utf8.h"
#include "server/template/compare.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

// Applies convert(code, &bytes) to every valid code point; the result has the provenance of the
// character it comes from.
template <typename Convert>
Text MapCharacters(const Text& text, Convert convert) {
  Text mapped;
  size_t begin = 0;
  std::string bytes;
  for (const Span& span : text.spans()) {
    bytes.clear();
    for (size_t at = begin; at < span.end;) {
      const CodePoint point = DecodeAt(text.view(), at);
      if (point.valid) {
        convert(point.code, &bytes);
      } else {
        bytes.append(text.view().substr(at, 1));
      }
      at += point.length;
    }
    mapped.Append(bytes, span.trusted);
    begin = span.end;
  }
  return mapped;
}

bool IsStripped(uint32_t code, std::string_view raw, const std::optional<Text>& chars) {
  if (!chars.has_value()) return IsSpace(code);
  return FindText(chars->view(), raw) != std::string_view::npos;
}

bool IsLineEnd(uint32_t code) {
  return (code >= 10 && code <= 13) || (code >= 28 && code <= 30) || code == 0x85 ||
         code == 0x2028 || code == 0x2029;
}

bool IsTitleBreak(uint32_t code) {
  return IsSpace(code) || code == '-' || code == '(' || code == '{' || code == '[' || code == '<';
}

size_t BeginOfLast(std::string_view text, size_t end) {
  size_t begin = end - 1;
  while (begin > 0 && end - begin < 4 && (static_cast<unsigned char>(text[begin]) & 0xC0) == 0x80) {
    --begin;
  }
  return DecodeAt(text, begin).length == end - begin ? begin : end - 1;
}

std::vector<Text> SplitAtSpace(const Text& text, int64_t splits_max) {
  std::vector<Text> parts;
  const std::string_view view = text.view();
  size_t at = LeadingSpace(view);
  while (at < view.size()) {
    if (splits_max >= 0 && static_cast<int64_t>(parts.size()) == splits_max) {
      parts.push_back(text.Slice(at, view.size()));
      break;
    }
    size_t end = at;
    while (end < view.size() && !IsSpace(DecodeAt(view, end).code)) {
      end += DecodeAt(view, end).length;
    }
    parts.push_back(text.Slice(at, end));
    at = end + LeadingSpace(view.substr(end));
  }
  return parts;
}

std::vector<Text> SplitAtSpaceFromRight(const Text& text, int64_t splits_max) {
  std::vector<Text> parts;
  const std::string_view view = text.view();
  size_t end = view.size() - TrailingSpace(view);
  while (end > 0) {
    if (splits_max >= 0 && static_cast<int64_t>(parts.size()) == splits_max) {
      parts.push_back(text.Slice(0, end));
      break;
    }
    size_t begin = end;
    while (begin > 0) {
      const size_t last = BeginOfLast(view, begin);
      if (IsSpace(DecodeAt(view, last).code)) break;
      begin = last;
    }
    parts.push_back(text.Slice(begin, end));
    end = begin - TrailingSpace(view.substr(0, begin));
  }
  std::reverse(parts.begin(), parts.end());
  return parts;
}

std::vector<Text> SplitAt(const Text& text, std::string_view separator, int64_t splits_max) {
  std::vector<Text> parts;
  size_t begin = 0;
  while (splits_max < 0 || static_cast<int64_t>(parts.size()) < splits_max) {
    const size_t found = FindText(text.view(), separator, begin);
    if (found == std::string_view::npos) break;
    parts.push_back(text.Slice(begin, found));
    begin = found + separator.size();
  }
  parts.push_back(text.Slice(begin, text.size()));
  return parts;
}

std::vector<Text> SplitAtFromRight(const Text& text, std::string_view separator,
                                   int64_t splits_max) {
  std::vector<Text> parts;
  size_t end = text.size();
  while (splits_max < 0 || static_cast<int64_t>(parts.size()) < splits_max) {
    const size_t found = text.view().substr(0, end).rfind(separator);
    if (found == std::string_view::npos) break;
    parts.push_back(text.Slice(found + separator.size(), end));
    end = found;
  }
  parts.push_back(text.Slice(0, end));
  std::reverse(parts.begin(), parts.end());
  return parts;
}

absl::StatusOr<Value> ReplaceBetweenCharacters(Budget& budget, const Text& text, const Text& to,
                                               size_t count) {
  const size_t places = std::min(count, CountCodePoints(text.view()) + 1);
  if (!to.empty() && places > budget.limits().output_bytes_max / to.size()) {
    return budget.AllocateString(budget.limits().output_bytes_max + 1);
  }
  RETURN_IF_ERROR(budget.AllocateString(text.size() + places * to.size()));
  RETURN_IF_ERROR(budget.Allocate(places * (2 + to.spans().size()) * sizeof(Span)));
  Text replaced;
  size_t at = 0;
  for (size_t i = 0; i < places; ++i) {
    replaced.Append(to);
    const size_t next = at < text.size() ? at + DecodeAt(text.view(), at).length : at;
    replaced.AppendRange(text, at, next);
    at = next;
  }
  replaced.AppendRange(text, at, text.size());
  return Value::String(std::move(replaced));
}

}  // namespace

Text Strip(const Text& text, Ends ends, const std::optional<Text>& chars) {
  const std::string_view view = text.view();
  size_t begin = 0;
  size_t end = view.size();
  while (ends != Ends::kRight && begin < end) {
    const CodePoint point = DecodeAt(view, begin);
    if (!IsStripped(point.code, view.substr(begin, point.length), chars)) break;
    begin += point.length;
  }
  while (ends != Ends::kLeft && begin < end) {
    const size_t last = BeginOfLast(view, end);
    if (!IsStripped(DecodeAt(view, last).code, view.substr(last, end - last), chars)) break;
    end = last;
  }
  return text.Slice(begin, end);
}

Text Upper(const Text& text) { return MapCharacters(text, AppendUpper); }
Text Lower(const Text& text) { return MapCharacters(text, AppendLower); }

Text Capitalize(const Text& text) {
  bool first = true;
  return MapCharacters(text, [&first](uint32_t code, std::string* out) {
    if (!first) return AppendLower(code, out);
    first = false;
    std::string upper;
    AppendUpper(code, &upper);
    const size_t head = DecodeAt(upper, 0).length;
    out->append(upper, 0, head);
    for (size_t at = head; at < upper.size(); at += DecodeAt(upper, at).length) {
      AppendLower(DecodeAt(upper, at).code, out);
    }
  });
}

Text TitleMethod(const Text& text) {
  bool inside = false;
  return MapCharacters(text, [&inside](uint32_t code, std::string* out) {
    inside ? AppendLower(code, out) : AppendUpper(code, out);
    inside = IsCased(code);
  });
}

Text TitleFilter(const Text& text) {
  bool inside = false;
  return MapCharacters(text, [&inside](uint32_t code, std::string* out) {
    if (IsTitleBreak(code)) {
      inside = false;
      AppendUtf8(code, out);
      return;
    }
    inside ? AppendLower(code, out) : AppendUpper(code, out);
    inside = true;
  });
}

absl::StatusOr<Value> Replace(Budget& budget, const Text& text, const Text& from, const Text& to,
                              int64_t count) {
  RETURN_IF_ERROR(budget.Scan(text.size()));
  const size_t most = count < 0 ? static_cast<size_t>(-1) : static_cast<size_t>(count);
  if (from.empty()) return ReplaceBetweenCharacters(budget, text, to, most);
  std::vector<size_t> places;
  for (size_t at = 0; places.size() < most;) {
    const size_t found = FindText(text.view(), from.view(), at);
    if (found == std::string_view::npos) break;
    RETURN_IF_ERROR(budget.Allocate(sizeof(size_t)));
    places.push_back(found);
    at = found + from.size();
  }
  if (!to.empty() && places.size() > budget.limits().output_bytes_max / to.size()) {
    return budget.AllocateString(budget.limits().output_bytes_max + 1);
  }
  RETURN_IF_ERROR(budget.AllocateString(text.size() + places.size() * to.size()));
  RETURN_IF_ERROR(budget.Allocate(places.size() * (2 + to.spans().size()) * sizeof(Span)));
  Text replaced;
  size_t begin = 0;
  for (size_t place : places) {
    replaced.AppendRange(text, begin, place);
    replaced.Append(to);
    begin = place + from.size();
  }
  replaced.AppendRange(text, begin, text.size());
  return MakeString(budget, std::move(replaced));
}

absl::StatusOr<Value> Split(Budget& budget, const Text& text, const std::optional<Text>& separator,
                            int64_t splits_max, bool from_right) {
  RETURN_IF_ERROR(budget.Scan(text.size()));
  if (from_right && separator.has_value()) {  // the search from the right is not linear
    RETURN_IF_ERROR(budget.Scan(text.size() / 64 * separator->size()));
  }
  // At worst every character becomes a part.
  RETURN_IF_ERROR(budget.Allocate(text.size() * (sizeof(Text) + sizeof(Value)) / 4));
  std::vector<Text> parts;
  if (!separator.has_value()) {
    parts = from_right ? SplitAtSpaceFromRight(text, splits_max) : SplitAtSpace(text, splits_max);
  } else if (separator->empty()) {
    return absl::InvalidArgumentError("split() needs a separator that is not empty");
  } else {
    parts = from_right ? SplitAtFromRight(text, separator->view(), splits_max)
                       : SplitAt(text, separator->view(), splits_max);
  }
  std::vector<Value> items;
  items.reserve(parts.size());
  for (Text& part : parts) {
    ASSIGN_OR_RETURN(Value item, MakeString(budget, std::move(part)));
    items.push_back(std::move(item));
  }
  return MakeSequence(budget, SequenceKind::kList, std::move(items), text.trusted());
}

std::vector<Text> SplitLines(const Text& text) {
  std::vector<Text> lines;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = DecodeAt(text.view(), at);
    size_t next = at + point.length;
    if (IsLineEnd(point.code)) {
      lines.push_back(text.Slice(begin, at));
      if (point.code == '\r' && next < text.size() && text.view()[next] == '\n') ++next;
      begin = next;
    }
    at = next;
  }
  if (begin < text.size()) lines.push_back(text.Slice(begin, text.size()));
  return lines;
}

absl::StatusOr<Value> Join(Budget& budget, const Text& separator, const std::vector<Value>& items) {
  RETURN_IF_ERROR(budget.Step(items.size()));
  size_t bytes = 0;
  size_t spans = 0;
  for (const Value& item : items) {
    bytes += item.text().size() + separator.size();
    spans += item.text().spans().size() + separator.spans().size();
    if (bytes > budget.limits().output_bytes_max + separator.size()) break;
  }
  if (bytes > 0) bytes -= std::min(bytes, separator.size());
  RETURN_IF_ERROR(budget.AllocateString(bytes));
  RETURN_IF_ERROR(budget.Allocate(spans * sizeof(Span)));
  Text joined;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) joined.Append(separator);
    joined.Append(items[i].text());
  }
  return Value::String(std::move(joined));
}

}  // namespace headgate::jinja
