#include "server/template/json_text.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "server/template/stringify.h"
#include "server/template/unicode.h"

namespace headgate::jinja {
namespace {

using nlohmann::ordered_json;

absl::StatusOr<Value> FromJsonAt(Budget& budget, const ordered_json& json, bool trusted,
                                 int depth) {
  if (depth > budget.limits().value_depth_max) {
    return absl::ResourceExhaustedError(
        absl::StrCat("request data is nested deeper than ", budget.limits().value_depth_max));
  }
  switch (json.type()) {
    case ordered_json::value_t::boolean:
      return Value(Value::Data(json.get<bool>()), trusted);
    case ordered_json::value_t::number_integer:
      return Value::Int(json.get<int64_t>(), trusted);
    case ordered_json::value_t::number_unsigned: {
      const auto number = json.get<uint64_t>();
      if (number > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
        return Value::Float(static_cast<double>(number), trusted);
      }
      return Value::Int(static_cast<int64_t>(number), trusted);
    }
    case ordered_json::value_t::number_float:
      return Value::Float(json.get<double>(), trusted);
    case ordered_json::value_t::string:
      return MakeString(budget, Text(json.get_ref<const std::string&>(), trusted));
    case ordered_json::value_t::array: {
      std::vector<Value> items;
      RETURN_IF_ERROR(budget.Allocate(json.size() * sizeof(Value)));
      items.reserve(json.size());
      for (const ordered_json& element : json) {
        ASSIGN_OR_RETURN(Value item, FromJsonAt(budget, element, trusted, depth + 1));
        items.push_back(std::move(item));
      }
      return MakeSequence(budget, SequenceKind::kList, std::move(items), trusted);
    }
    case ordered_json::value_t::object: {
      std::vector<std::pair<Value, Value>> entries;
      for (const auto& [key, element] : json.items()) {
        ASSIGN_OR_RETURN(Value name, MakeString(budget, Text(key, trusted)));
        ASSIGN_OR_RETURN(Value item, FromJsonAt(budget, element, trusted, depth + 1));
        entries.emplace_back(std::move(name), std::move(item));
      }
      return MakeDict(budget, std::move(entries), trusted);
    }
    default:
      return Value(Value::Data(None{}), trusted);
  }
}

void AppendUnicodeEscape(uint32_t code, std::string* out) {
  if (code < 0x10000) {
    absl::StrAppendFormat(out, "\\u%04x", code);
    return;
  }
  const uint32_t offset = code - 0x10000;
  absl::StrAppendFormat(out, "\\u%04x\\u%04x", 0xD800 + (offset >> 10), 0xDC00 + (offset & 0x3FF));
}

void AppendJsonString(std::string_view text, bool ensure_ascii, std::string* out) {
  out->push_back('"');
  for (size_t at = 0; at < text.size();) {
    const CodePoint point = DecodeAt(text, at);
    static constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b";
    static constexpr std::string_view kLetters = "\"\\nrtfb";
    const size_t named =
        point.code < 0x80 ? kEscaped.find(static_cast<char>(point.code)) : std::string_view::npos;
    if (named != std::string_view::npos) {
      out->push_back('\\');
      out->push_back(kLetters[named]);
    } else if (point.code < 0x20 || (ensure_ascii && point.code > 0x7E)) {
      AppendUnicodeEscape(point.code, out);
    } else {
      out->append(text.substr(at, point.length));
    }
    at += point.length;
  }
  out->push_back('"');
}

class JsonWriter {
 public:
  JsonWriter(Budget& budget, const JsonStyle& style) : budget_(budget), style_(style) {}

  absl::Status Write(const Value& value) {
    RETURN_IF_ERROR(budget_.Step());
    trusted_ = trusted_ && value.trusted();
    if (value.IsSequence() && (value.sequence().kind == SequenceKind::kList ||
                               value.sequence().kind == SequenceKind::kTuple)) {
      RETURN_IF_ERROR(WriteArray(value.sequence().items));
    } else if (value.IsDict()) {
      RETURN_IF_ERROR(WriteObject(value.dict()));
    } else if (value.IsString()) {
      RETURN_IF_ERROR(budget_.Scan(value.text().size()));
      AppendJsonString(value.view(), style_.ensure_ascii, &out_);
    } else {
      ASSIGN_OR_RETURN(const std::string scalar, Scalar(value));
      out_.append(scalar);
    }
    if (out_.size() <= budget_.limits().output_bytes_max) return absl::OkStatus();
    return budget_.AllocateString(out_.size());
  }

  Text Take() { return Text(std::move(out_), trusted_); }

 private:
  static absl::StatusOr<std::string> Scalar(const Value& value) {
    if (value.IsNone()) return std::string("null");
    if (value.IsBool()) return std::string(value.boolean() ? "true" : "false");
    if (value.IsInt()) return absl::StrCat(value.integer());
    if (value.IsFloat()) {
      if (std::isnan(value.number())) return std::string("NaN");
      if (std::isinf(value.number()))
        return std::string(value.number() < 0 ? "-Infinity" : "Infinity");
      return FloatRepr(value.number());
    }
    return absl::InvalidArgumentError(
        absl::StrCat("object of type ", value.TypeName(), " is not JSON serializable"));
  }

  void NewLine() {
    if (!style_.indent.has_value()) return;
    out_.push_back('\n');
    for (int i = 0; i < level_; ++i) out_.append(*style_.indent);
  }

  absl::Status WriteArray(const std::vector<Value>& items) {
    if (items.empty()) {
      out_.append("[]");
      return absl::OkStatus();
    }
    out_.push_back('[');
    ++level_;
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out_.append(style_.item_separator);
      NewLine();
      RETURN_IF_ERROR(Write(items[i]));
    }
    --level_;
    NewLine();
    out_.push_back(']');
    return absl::OkStatus();
  }

  absl::Status WriteKey(const Value& key) {
    trusted_ = trusted_ && key.trusted();
    if (key.IsString()) {
      RETURN_IF_ERROR(budget_.Scan(key.text().size()));
      AppendJsonString(key.view(), style_.ensure_ascii, &out_);
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::string text, Scalar(key));
    absl::StrAppend(&out_, "\"", text, "\"");
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<size_t>> KeyOrder(const Dict& dict) {
    std::vector<size_t> order(dict.entries.size());
    for (size_t i = 0; i < order.size(); ++i) order[i] = i;
    if (!style_.sort_keys) return order;
    RETURN_IF_ERROR(budget_.Step(order.size()));
    for (const auto& entry : dict.entries) {
      if (!entry.first.IsString()) {
        return absl::InvalidArgumentError("tojson(sort_keys=true) needs string keys");
      }
    }
    std::sort(order.begin(), order.end(), [&dict](size_t a, size_t b) {
      return dict.entries[a].first.view() < dict.entries[b].first.view();
    });
    return order;
  }

  absl::Status WriteObject(const Dict& dict) {
    if (dict.entries.empty()) {
      out_.append("{}");
      return absl::OkStatus();
    }
    ASSIGN_OR_RETURN(const std::vector<size_t> order, KeyOrder(dict));
    out_.push_back('{');
    ++level_;
    bool first = true;
    for (size_t i : order) {
      if (!first) out_.append(style_.item_separator);
      first = false;
      NewLine();
      RETURN_IF_ERROR(WriteKey(dict.entries[i].first));
      out_.append(style_.key_separator);
      RETURN_IF_ERROR(Write(dict.entries[i].second));
    }
    --level_;
    NewLine();
    out_.push_back('}');
    return absl::OkStatus();
  }

  Budget& budget_;
  const JsonStyle& style_;
  std::string out_;
  int level_ = 0;
  bool trusted_ = true;
};

}  // namespace

absl::StatusOr<Value> FromJson(Budget& budget, const ordered_json& json, bool trusted) {
  return FromJsonAt(budget, json, trusted, 0);
}

absl::StatusOr<Value> ToJson(Budget& budget, const Value& value, const JsonStyle& style) {
  JsonWriter writer(budget, style);
  RETURN_IF_ERROR(writer.Write(value));
  return MakeString(budget, writer.Take());
}

}  // namespace headgate::jinja
