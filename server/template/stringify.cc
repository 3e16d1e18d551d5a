#include "server/template/stringify.h"

#include <charconv>
#include <cmath>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

void AppendEscaped(const CodePoint& point, std::string_view raw, std::string* out) {
  switch (point.code) {
    case '\n':
      out->append("\\n");
      return;
    case '\r':
      out->append("\\r");
      return;
    case '\t':
      out->append("\\t");
      return;
    case '\\':
      out->append("\\\\");
      return;
    default:
      break;
  }
  if (!point.valid || IsPrintable(point.code)) {
    out->append(raw);
  } else if (point.code < 0x100) {
    absl::StrAppendFormat(out, "\\x%02x", point.code);
  } else if (point.code < 0x10000) {
    absl::StrAppendFormat(out, "\\u%04x", point.code);
  } else {
    absl::StrAppendFormat(out, "\\U%08x", point.code);
  }
}

void AppendStringRepr(std::string_view text, std::string* out) {
  const bool has_single = text.find('\'') != std::string_view::npos;
  const char quote = has_single && text.find('"') == std::string_view::npos ? '"' : '\'';
  out->push_back(quote);
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = DecodeAt(text, at);
    if (point.code == static_cast<uint32_t>(quote)) out->push_back('\\');
    AppendEscaped(point, text.substr(at, point.length), out);
    at += point.length;
  }
  out->push_back(quote);
}

class ReprWriter {
 public:
  explicit ReprWriter(Budget& budget) : budget_(budget) {}

  absl::Status Write(const Value& value, bool quote_strings) {
    RETURN_IF_ERROR(budget_.Step());
    trusted_ = trusted_ && value.trusted();
    if (value.IsString()) {
      RETURN_IF_ERROR(budget_.Scan(value.text().size()));
      if (quote_strings) {
        AppendStringRepr(value.view(), &out_);
      } else {
        out_.append(value.view());
      }
    } else if (value.IsSequence()) {
      RETURN_IF_ERROR(WriteSequence(value.sequence()));
    } else if (value.IsDict()) {
      RETURN_IF_ERROR(WriteEntries(value.dict().entries));
    } else if (value.IsNamespace()) {
      RETURN_IF_ERROR(WriteNamespace(*value.name_space()));
    } else {
      WriteScalar(value, quote_strings);
    }
    if (out_.size() <= budget_.limits().output_bytes_max) return absl::OkStatus();
    return budget_.AllocateString(out_.size());
  }

  Text Take() { return Text(std::move(out_), trusted_); }

 private:
  void WriteScalar(const Value& value, bool quote_strings) {
    if (value.IsUndefined()) {
      if (quote_strings) out_.append("Undefined");
    } else if (value.IsNone()) {
      out_.append("None");
    } else if (value.IsBool()) {
      out_.append(value.boolean() ? "True" : "False");
    } else if (value.IsInt()) {
      absl::StrAppend(&out_, value.integer());
    } else if (value.IsFloat()) {
      out_.append(FloatRepr(value.number()));
    } else if (value.IsLoop()) {
      const LoopState& loop = *value.loop();
      absl::StrAppend(&out_, "<LoopContext ", loop.index0 + 1, "/", loop.items.size(), ">");
    } else {
      absl::StrAppend(&out_, "<", value.TypeName(), ">");
    }
  }

  absl::Status WriteSequence(const Sequence& sequence) {
    const auto [open, close] = Brackets(sequence);
    out_.append(open);
    for (size_t i = 0; i < sequence.items.size(); ++i) {
      if (i > 0) out_.append(", ");
      RETURN_IF_ERROR(Write(sequence.items[i], true));
    }
    out_.append(close);
    return absl::OkStatus();
  }

  static std::pair<const char*, const char*> Brackets(const Sequence& sequence) {
    switch (sequence.kind) {
      case SequenceKind::kTuple:
        return {"(", sequence.items.size() == 1 ? ",)" : ")"};
      case SequenceKind::kRange:
        return {"range(", ")"};
      case SequenceKind::kIterator:
        return {"<generator ", ">"};
      case SequenceKind::kKeys:
        return {"dict_keys([", "])"};
      case SequenceKind::kValues:
        return {"dict_values([", "])"};
      case SequenceKind::kItems:
        return {"dict_items([", "])"};
      case SequenceKind::kList:
        break;
    }
    return {"[", "]"};
  }

  template <typename Entries>
  absl::Status WriteEntries(const Entries& entries) {
    out_.push_back('{');
    bool first = true;
    for (const auto& [key, value] : entries) {
      if (!first) out_.append(", ");
      first = false;
      RETURN_IF_ERROR(Write(key, true));
      out_.append(": ");
      RETURN_IF_ERROR(Write(value, true));
    }
    out_.push_back('}');
    return absl::OkStatus();
  }

  absl::Status WriteNamespace(const Namespace& name_space) {
    // A namespace may hold itself; containers cannot.
    if (++namespaces_open_ > budget_.limits().value_depth_max) {
      return absl::ResourceExhaustedError("a namespace that holds itself cannot be printed");
    }
    out_.append("<Namespace {");
    bool first = true;
    for (const auto& [name, value] : name_space.fields) {
      if (!first) out_.append(", ");
      first = false;
      AppendStringRepr(name, &out_);
      out_.append(": ");
      RETURN_IF_ERROR(Write(value, true));
    }
    out_.append("}>");
    --namespaces_open_;
    return absl::OkStatus();
  }

  Budget& budget_;
  std::string out_;
  bool trusted_ = true;
  int namespaces_open_ = 0;
};

}  // namespace

absl::StatusOr<Value> ToString(Budget& budget, const Value& value) {
  if (value.IsString()) return value;
  ReprWriter writer(budget);
  RETURN_IF_ERROR(writer.Write(value, false));
  return MakeString(budget, writer.Take());
}

std::string FloatRepr(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value < 0 ? "-inf" : "inf";
  char buffer[40];
  const auto end =
      std::to_chars(buffer, buffer + sizeof(buffer), value, std::chars_format::scientific);
  std::string_view text(buffer, static_cast<size_t>(end.ptr - buffer));
  const size_t e = text.find('e');
  int exponent = 0;
  const size_t sign_skip = text[e + 1] == '+' ? 2 : 1;
  std::from_chars(text.data() + e + sign_skip, text.data() + text.size(), exponent);
  const bool negative = text.front() == '-';
  std::string digits;
  for (char c : text.substr(0, e)) {
    if (c != '-' && c != '.') digits.push_back(c);
  }
  std::string out;
  if (negative) out.push_back('-');
  const auto zeros = [&out](int n) { out.append(static_cast<size_t>(n), '0'); };
  const int count = static_cast<int>(digits.size());
  if (exponent < -4 || exponent >= 16) {
    out.push_back(digits.front());
    if (count > 1) out.append(".").append(digits, 1, std::string::npos);
    absl::StrAppendFormat(&out, "e%c%02d", exponent < 0 ? '-' : '+', std::abs(exponent));
  } else if (exponent < 0) {
    out.append("0.");
    zeros(-exponent - 1);
    out.append(digits);
  } else if (exponent + 1 >= count) {
    out.append(digits);
    zeros(exponent + 1 - count);
    out.append(".0");
  } else {
    const auto point = static_cast<size_t>(exponent + 1);
    out.append(digits, 0, point).append(".").append(digits, point, std::string::npos);
  }
  return out;
}

}  // namespace headgate::jinja
