#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "base/status_macros.h"
#include "server/template/filters.h"
#include "server/template/json_text.h"
#include "server/template/string_format.h"
#include "server/template/stringify.h"
#include "server/template/text_transform.h"

namespace headgate::jinja {
namespace {

constexpr int64_t kIndentMax = 100;  // spaces of one level

template <Text (*kTransform)(const Text&)>
absl::StatusOr<Value> TransformFilter(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("this filter", {}, 0, args).status());
  ASSIGN_OR_RETURN(const Value text, ToString(budget, input));
  RETURN_IF_ERROR(budget.Scan(text.text().size()));
  return MakeString(budget, kTransform(text.text()));
}

absl::StatusOr<Value> Trim(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("trim", {"chars"}, 0, args));
  ASSIGN_OR_RETURN(const Value text, ToString(budget, input));
  std::optional<Text> chars;
  if (bound[0].has_value() && !bound[0]->IsNone()) {
    ASSIGN_OR_RETURN(chars, TextArg(bound[0], ""));
    RETURN_IF_ERROR(budget.Scan(text.text().size() / 64 * chars->size()));
  }
  RETURN_IF_ERROR(budget.Scan(text.text().size()));
  return MakeString(budget, Strip(text.text(), Ends::kBoth, chars));
}

absl::StatusOr<Value> ReplaceFilter(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("replace", {"old", "new", "count"}, 2, args));
  ASSIGN_OR_RETURN(const Value text, ToString(budget, input));
  ASSIGN_OR_RETURN(const Value from, ToString(budget, *bound[0]));
  ASSIGN_OR_RETURN(const Value to, ToString(budget, *bound[1]));
  ASSIGN_OR_RETURN(const int64_t count, IntArg(bound[2], -1));
  return Replace(budget, text.text(), from.text(), to.text(), count);
}

absl::StatusOr<Value> StringFilter(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("string", {}, 0, args).status());
  return ToString(budget, input);
}

absl::StatusOr<Value> Indent(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound, Bind("indent", {"width", "first", "blank"}, 0, args));
  if (!input.IsString()) return absl::InvalidArgumentError("indent needs a string");
  Text indention;
  if (bound[0].has_value() && bound[0]->IsString()) {
    indention = bound[0]->text();
  } else {
    ASSIGN_OR_RETURN(const int64_t width, IntArg(bound[0], 4));
    if (width > kIndentMax) return absl::InvalidArgumentError("indent is too wide");
    indention = Text(std::string(static_cast<size_t>(std::max<int64_t>(width, 0)), ' '), true);
  }
  const bool blank = BoolArg(bound[2], false);
  RETURN_IF_ERROR(budget.Allocate(input.text().size() * 3));
  Text with_end = input.text();
  with_end.Append("\n", true);
  Text out;
  if (BoolArg(bound[1], false)) out.Append(indention);
  bool first = true;
  for (const Text& line : SplitLines(with_end)) {
    RETURN_IF_ERROR(budget.AllocateString(sizeof(Span) + line.size() + indention.size()));
    if (out.size() > budget.limits().output_bytes_max) return budget.AllocateString(out.size());
    if (!first) out.Append("\n", input.trusted());
    if (!first && (blank || !line.empty())) out.Append(indention);
    out.Append(line);
    first = false;
  }
  return MakeString(budget, std::move(out));
}

absl::StatusOr<JsonStyle> ReadJsonStyle(const BoundArgs& bound) {
  JsonStyle style;
  style.ensure_ascii = BoolArg(bound[0], false);
  if (bound[1].has_value() && bound[1]->IsString()) {
    if (bound[1]->text().size() > kIndentMax)
      return absl::InvalidArgumentError("tojson: indent is too wide");
    style.indent.emplace(bound[1]->view());
  } else if (bound[1].has_value() && !bound[1]->IsNone()) {
    ASSIGN_OR_RETURN(const int64_t width, IntArg(bound[1], 0));
    if (width > kIndentMax) return absl::InvalidArgumentError("tojson: indent is too wide");
    style.indent.emplace(static_cast<size_t>(std::max<int64_t>(width, 0)), ' ');
  }
  if (style.indent.has_value()) style.item_separator.resize(1);  // no space at a line's end
  if (bound[2].has_value() && !bound[2]->IsNone()) {
    const Value& pair = *bound[2];
    if (!pair.IsSequence() || pair.sequence().items.size() != 2 ||
        !pair.sequence().items[0].IsString() || !pair.sequence().items[1].IsString() ||
        pair.sequence().items[0].text().size() + pair.sequence().items[1].text().size() > 64) {
      return absl::InvalidArgumentError("tojson: separators must be two short strings");
    }
    style.item_separator = std::string(pair.sequence().items[0].view());
    style.key_separator = std::string(pair.sequence().items[1].view());
  }
  style.sort_keys = BoolArg(bound[3], false);
  return style;
}

absl::StatusOr<Value> ToJsonFilter(Budget& budget, const Value& input, const CallArgs& args) {
  ASSIGN_OR_RETURN(BoundArgs bound,
                   Bind("tojson", {"ensure_ascii", "indent", "separators", "sort_keys"}, 0, args));
  ASSIGN_OR_RETURN(const JsonStyle style, ReadJsonStyle(bound));
  return ToJson(budget, input, style);
}

absl::StatusOr<Value> Escape(Budget& budget, const Value& input, const CallArgs& args) {
  RETURN_IF_ERROR(Bind("escape", {}, 0, args).status());
  ASSIGN_OR_RETURN(Value text, ToString(budget, input));
  constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&", "&amp;"}, {"<", "&lt;"}, {">", "&gt;"}, {"'", "&#39;"}, {"\"", "&#34;"}};
  for (const auto& [from, to] : kEntities) {
    const bool trusted = text.trusted();
    ASSIGN_OR_RETURN(text, Replace(budget, text.text(), Text(std::string(from), true),
                                   Text(std::string(to), trusted), -1));
  }
  return text;
}

absl::StatusOr<Value> FormatFilter(Budget& budget, const Value& input, const CallArgs& args) {
  if (!args.named.empty()) return absl::InvalidArgumentError("format takes no keyword arguments");
  ASSIGN_OR_RETURN(const Value text, ToString(budget, input));
  ASSIGN_OR_RETURN(const Value values, MakeSequence(budget, SequenceKind::kTuple, args.positional));
  return PercentFormat(budget, text.text(), values);
}

constexpr FilterEntry kTextFilters[] = {
    {"trim", Trim},
    {"upper", TransformFilter<Upper>},
    {"lower", TransformFilter<Lower>},
    {"capitalize", TransformFilter<Capitalize>},
    {"title", TransformFilter<TitleFilter>},
    {"replace", ReplaceFilter},
    {"string", StringFilter},
    {"safe", StringFilter},
    {"indent", Indent},
    {"tojson", ToJsonFilter},
    {"escape", Escape},
    {"e", Escape},
    {"format", FormatFilter},
};

}  // namespace

std::span<const FilterEntry> TextFilters() { return kTextFilters; }

}  // namespace headgate::jinja
