#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "server/template/compare.h"
#include "server/template/methods.h"
#include "server/template/string_format.h"
#include "server/template/text_transform.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

template <Text (*kTransform)(const Text&)>
absl::StatusOr<Value> TransformMethod(Budget& budget, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("this method", {}, 0, args).status());
  RETURN_IF_ERROR(budget.Scan(self.text().size()));
  return MakeString(budget, kTransform(self.text()));
}

template <Ends kEnds>
absl::StatusOr<Value> StripMethod(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("strip", {"chars"}, 0, args));
  std::optional<Text> chars;
  if (bound[0].has_value() && !bound[0]->IsNone()) {
    ASSIGN_OR_RETURN(chars, TextArg(bound[0], ""));
    RETURN_IF_ERROR(budget.Scan(self.text().size() / 64 * chars->size()));
  }
  RETURN_IF_ERROR(budget.Scan(self.text().size()));
  return MakeString(budget, Strip(self.text(), kEnds, chars));
}

template <bool kFromRight>
absl::StatusOr<Value> SplitMethod(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("split", {"sep", "maxsplit"}, 0, args));
  std::optional<Text> separator;
  if (bound[0].has_value() && !bound[0]->IsNone()) {
    ASSIGN_OR_RETURN(separator, TextArg(bound[0], ""));
  }
  ASSIGN_OR_RETURN(const int64_t splits_max, IntArg(bound[1], -1));
  return Split(budget, self.text(), separator, splits_max, kFromRight);
}

absl::StatusOr<Value> SplitLinesMethod(Budget& budget, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("splitlines", {}, 0, args).status());
  RETURN_IF_ERROR(budget.Allocate(self.text().size() * sizeof(Text) / 4));
  std::vector<Value> lines;
  for (Text& line : SplitLines(self.text())) {
    ASSIGN_OR_RETURN(Value value, MakeString(budget, std::move(line)));
    lines.push_back(std::move(value));
  }
  return MakeSequence(budget, SequenceKind::kList, std::move(lines), self.trusted());
}

bool HasAffix(std::string_view text, std::string_view affix, bool at_start) {
  return at_start ? text.starts_with(affix) : text.ends_with(affix);
}

// startswith and endswith: one string, or a tuple of which any may match.
template <bool kAtStart>
absl::StatusOr<Value> AffixMethod(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind(kAtStart ? "startswith" : "endswith", {"affix"}, 1, args));
  const Value& affix = *bound[0];
  std::vector<Value> candidates = {affix};
  if (affix.IsSequence() && affix.sequence().kind == SequenceKind::kTuple) {
    candidates = affix.sequence().items;
  }
  for (const Value& candidate : candidates) {
    RETURN_IF_ERROR(budget.Step());
    ASSIGN_OR_RETURN(const Text text, TextArg(candidate.IsNone() ? Value() : candidate, ""));
    if (HasAffix(self.view(), text.view(), kAtStart)) return Value::Bool(true);
  }
  return Value::Bool(false);
}

template <bool kPrefix>
absl::StatusOr<Value> RemoveAffix(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("removeprefix", {"affix"}, 1, args));
  ASSIGN_OR_RETURN(const Text affix, TextArg(bound[0], ""));
  if (!HasAffix(self.view(), affix.view(), kPrefix)) return self;
  const size_t size = self.text().size();
  const size_t rest = size - affix.size();
  return MakeString(budget,
                    kPrefix ? self.text().Slice(size - rest, size) : self.text().Slice(0, rest));
}

absl::StatusOr<Value> ReplaceMethod(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("replace", {"old", "new", "count"}, 2, args));
  ASSIGN_OR_RETURN(const Text from, TextArg(bound[0], ""));
  ASSIGN_OR_RETURN(const Text to, TextArg(bound[1], ""));
  ASSIGN_OR_RETURN(const int64_t count, IntArg(bound[2], -1));
  return Replace(budget, self.text(), from, to, count);
}

absl::StatusOr<Value> FindMethodOfString(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("find", {"sub"}, 1, args));
  ASSIGN_OR_RETURN(const Text needle, TextArg(bound[0], ""));
  RETURN_IF_ERROR(budget.Scan(self.text().size()));
  const size_t at = FindText(self.view(), needle.view());
  if (at == std::string_view::npos) return Value::Int(-1, self.trusted());
  return Value::Int(static_cast<int64_t>(CountCodePoints(self.view().substr(0, at))),
                    self.trusted());
}

absl::StatusOr<Value> RightFind(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("rfind", {"sub"}, 1, args));
  ASSIGN_OR_RETURN(const Text needle, TextArg(bound[0], ""));
  RETURN_IF_ERROR(budget.Scan(self.text().size() / 64 * needle.size() + self.text().size()));
  const size_t at = self.view().rfind(needle.view());
  if (at == std::string_view::npos) return Value::Int(-1, self.trusted());
  return Value::Int(static_cast<int64_t>(CountCodePoints(self.view().substr(0, at))),
                    self.trusted());
}

absl::StatusOr<Value> CountMethod(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("count", {"sub"}, 1, args));
  ASSIGN_OR_RETURN(const Text needle, TextArg(bound[0], ""));
  RETURN_IF_ERROR(budget.Scan(self.text().size()));
  if (needle.empty()) {
    return Value::Int(static_cast<int64_t>(CountCodePoints(self.view())) + 1, self.trusted());
  }
  int64_t count = 0;
  size_t at = FindText(self.view(), needle.view());
  for (; at != std::string_view::npos; ++count) {
    at = FindText(self.view(), needle.view(), at + needle.size());
  }
  return Value::Int(count, self.trusted());
}

absl::StatusOr<Value> JoinMethod(Budget& budget, const Value& self, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("join", {"iterable"}, 1, args));
  if (bound[0]->IsUndefined()) return MakeString(budget, Text());
  ASSIGN_OR_RETURN(const std::vector<Value> items, Iterate(budget, *bound[0]));
  for (const Value& item : items) {
    if (!item.IsString()) return absl::InvalidArgumentError("join() needs strings");
  }
  return Join(budget, self.text(), items);
}

absl::StatusOr<Value> FormatMethod(Budget& budget, const Value& self, const CallArgs& args) {
  return BraceFormat(budget, self.text(), args);
}

// True for a text that is not empty and whose every character is in the class.
template <bool (*kInClass)(uint32_t)>
absl::StatusOr<Value> EveryCharacter(Budget& budget, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("this method", {}, 0, args).status());
  RETURN_IF_ERROR(budget.Scan(self.text().size()));
  for (size_t at = 0; at < self.text().size();) {
    const CodePoint point = DecodeAt(self.view(), at);
    if (!kInClass(point.code)) return Value::Bool(false);
    at += point.length;
  }
  return Value::Bool(!self.text().empty());
}

bool IsAsciiDigit(uint32_t code) { return code >= '0' && code <= '9'; }

// True when converting changes nothing and there is a cased character.
template <Text (*kTransform)(const Text&)>
absl::StatusOr<Value> HasCase(Budget& budget, const Value& self, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("this method", {}, 0, args).status());
  RETURN_IF_ERROR(budget.Allocate(self.text().size()));
  bool cased = false;
  for (size_t at = 0; at < self.text().size() && !cased;) {
    const CodePoint point = DecodeAt(self.view(), at);
    cased = IsCased(point.code);
    at += point.length;
  }
  return Value::Bool(cased && kTransform(self.text()).view() == self.view());
}

struct MethodEntry {
  std::string_view name;
  Method method;
};

constexpr MethodEntry kMethods[] = {
    {"strip", StripMethod<Ends::kBoth>},
    {"lstrip", StripMethod<Ends::kLeft>},
    {"rstrip", StripMethod<Ends::kRight>},
    {"split", SplitMethod<false>},
    {"rsplit", SplitMethod<true>},
    {"splitlines", SplitLinesMethod},
    {"startswith", AffixMethod<true>},
    {"endswith", AffixMethod<false>},
    {"removeprefix", RemoveAffix<true>},
    {"removesuffix", RemoveAffix<false>},
    {"upper", TransformMethod<Upper>},
    {"lower", TransformMethod<Lower>},
    {"capitalize", TransformMethod<Capitalize>},
    {"title", TransformMethod<TitleMethod>},
    {"replace", ReplaceMethod},
    {"find", FindMethodOfString},
    {"rfind", RightFind},
    {"count", CountMethod},
    {"join", JoinMethod},
    {"format", FormatMethod},
    {"isspace", EveryCharacter<IsSpace>},
    {"isdigit", EveryCharacter<IsAsciiDigit>},
    {"isupper", HasCase<Upper>},
    {"islower", HasCase<Lower>},
};

}  // namespace

Method FindStringMethod(std::string_view name) {
  const auto* found = std::find_if(std::begin(kMethods), std::end(kMethods),
                                   [name](const MethodEntry& entry) { return entry.name == name; });
  return found == std::end(kMethods) ? nullptr : found->method;
}

}  // namespace headgate::jinja
