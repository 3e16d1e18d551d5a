#include "server/template/string_format.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "server/template/stringify.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

constexpr int kWidthMax = 1000;  // of a padded field, and digits after the point

struct Directive {
  bool left = false;
  bool zero = false;
  int width = 0;
  int precision = -1;
  char conversion = 0;
};

// Parses what follows a '%' at *at; leaves *at behind the directive.
absl::StatusOr<Directive> ParseDirective(std::string_view format, size_t* at) {
  Directive directive;
  const auto number = [&](int* out) {
    *out = 0;
    while (*at < format.size() && format[*at] >= '0' && format[*at] <= '9' && *out <= kWidthMax) {
      *out = *out * 10 + (format[(*at)++] - '0');
    }
  };
  for (; *at < format.size() && (format[*at] == '-' || format[*at] == '0'); ++*at) {
    (format[*at] == '-' ? directive.left : directive.zero) = true;
  }
  number(&directive.width);
  if (*at < format.size() && format[*at] == '.') {
    ++*at;
    number(&directive.precision);
  }
  if (directive.width > kWidthMax || directive.precision > kWidthMax) {
    return absl::InvalidArgumentError("a width in a % format is too large");
  }
  if (*at >= format.size()) return absl::InvalidArgumentError("incomplete format");
  directive.conversion = format[(*at)++];
  return directive;
}

absl::StatusOr<Text> ConvertNumber(const Directive& directive, const Value& value) {
  if (!value.IsNumber()) {
    return absl::InvalidArgumentError(absl::StrCat("a number is required, not ", value.TypeName()));
  }
  std::string digits;
  if (directive.conversion == 'f') {
    digits =
        absl::StrFormat("%.*f", directive.precision < 0 ? 6 : directive.precision, value.number());
  } else if (directive.conversion == 'x' && value.IsIntegral()) {
    digits = absl::StrFormat("%x", value.integer());
  } else if (directive.conversion != 'x' && value.IsIntegral()) {
    digits = absl::StrCat(value.integer());
  } else if (directive.conversion != 'x' && value.number() > -9e18 && value.number() < 9e18) {
    digits = absl::StrCat(static_cast<int64_t>(value.number()));
  } else {
    return absl::InvalidArgumentError("this number does not fit an integer format");
  }
  const auto width = static_cast<size_t>(directive.width);
  if (directive.zero && !directive.left && digits.size() < width) {
    digits.insert(digits.front() == '-' ? 1 : 0, width - digits.size(), '0');
  }
  return Text(std::move(digits), value.trusted());
}

absl::StatusOr<Text> Convert(Budget& budget, const Directive& directive, const Value& value) {
  switch (directive.conversion) {
    case 's': {
      ASSIGN_OR_RETURN(const Value text, ToString(budget, value));
      if (directive.precision < 0) return text.text();
      return text.text().Slice(0,
                               ByteOffset(text.view(), static_cast<size_t>(directive.precision)));
    }
    case 'd':
    case 'i':
    case 'f':
    case 'x':
      return ConvertNumber(directive, value);
    default:
      return absl::InvalidArgumentError("unsupported format character; use %s, %d, %f or %x");
  }
}

absl::Status AppendChecked(Budget& budget, const Text& piece, Text* out) {
  RETURN_IF_ERROR(budget.AllocateString(piece.size()));
  out->Append(piece);
  return absl::OkStatus();
}

absl::Status AppendField(Budget& budget, const Directive& directive, const Text& field, Text* out) {
  const size_t length = CountCodePoints(field.view());
  const auto width = static_cast<size_t>(directive.width);
  const std::string padding(length < width ? width - length : 0, ' ');
  if (!directive.left) out->Append(padding, true);
  RETURN_IF_ERROR(AppendChecked(budget, field, out));
  if (directive.left) out->Append(padding, true);
  return absl::OkStatus();
}

// The value that a replacement field names. `next` counts automatic numbering.
absl::StatusOr<Value> FieldValue(std::string_view field, const CallArgs& args, size_t* next) {
  size_t index = 0;
  if (field.empty()) {
    index = (*next)++;
  } else if (!absl::SimpleAtoi(std::string(field), &index)) {
    for (const auto& [name, value] : args.named) {
      if (name == field) return value;
    }
    return absl::InvalidArgumentError("format(): no argument of that name, or a format spec");
  }
  if (index < args.positional.size()) return args.positional[index];
  return absl::InvalidArgumentError("format(): replacement index out of range");
}

}  // namespace

absl::StatusOr<Value> PercentFormat(Budget& budget, const Text& format, const Value& values) {
  const bool is_tuple = values.IsSequence() && values.sequence().kind == SequenceKind::kTuple;
  const std::vector<Value> list = is_tuple ? values.sequence().items : std::vector<Value>{values};
  const std::string_view view = format.view();
  Text out;
  size_t used = 0;
  for (size_t at = 0; at < view.size();) {
    const size_t percent = std::min(view.find('%', at), view.size());
    out.AppendRange(format, at, percent);
    if (percent == view.size()) break;
    at = percent + 1;
    ASSIGN_OR_RETURN(const Directive directive, ParseDirective(view, &at));
    if (directive.conversion == '%') {
      out.AppendRange(format, percent, percent + 1);
      continue;
    }
    if (used == list.size())
      return absl::InvalidArgumentError("not enough arguments for format string");
    ASSIGN_OR_RETURN(const Text field, Convert(budget, directive, list[used++]));
    RETURN_IF_ERROR(AppendField(budget, directive, field, &out));
  }
  if (used < list.size() && (is_tuple || !(values.IsDict() || values.IsSequence()))) {
    return absl::InvalidArgumentError("not all arguments converted during string formatting");
  }
  return MakeString(budget, std::move(out));
}

absl::StatusOr<Value> BraceFormat(Budget& budget, const Text& format, const CallArgs& args) {
  const std::string_view view = format.view();
  Text out;
  size_t next = 0;
  for (size_t at = 0; at < view.size();) {
    const size_t brace = std::min(view.find_first_of("{}", at), view.size());
    out.AppendRange(format, at, brace);
    if (brace == view.size()) break;
    if (brace + 1 < view.size() && view[brace + 1] == view[brace]) {
      out.AppendRange(format, brace, brace + 1);
      at = brace + 2;
      continue;
    }
    const size_t close = view.find('}', brace);
    if (view[brace] == '}' || close == std::string_view::npos) {
      return absl::InvalidArgumentError("format(): single brace in the format string");
    }
    const std::string_view field = view.substr(brace + 1, close - brace - 1);
    ASSIGN_OR_RETURN(const Value value, FieldValue(field, args, &next));
    ASSIGN_OR_RETURN(const Value text, ToString(budget, value));
    RETURN_IF_ERROR(AppendChecked(budget, text.text(), &out));
    at = close + 1;
  }
  return MakeString(budget, std::move(out));
}

}  // namespace headgate::jinja
