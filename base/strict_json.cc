#include "base/strict_json.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/utf8.h"

namespace headgate {
namespace {

using nlohmann::json;

// Builds the document, and stops at the first thing that it must not hold.
class StrictBuilder final : public nlohmann::json_sax<json> {
 public:
  explicit StrictBuilder(int depth_max) : depth_max_(depth_max) {}

  const std::string& error() const { return error_; }
  json TakeDocument() { return std::move(document_); }

  bool null() override { return Add(nullptr) != nullptr; }
  bool boolean(bool value) override { return Add(value) != nullptr; }
  bool number_integer(int64_t value) override { return Add(value) != nullptr; }
  bool number_unsigned(uint64_t value) override { return Add(value) != nullptr; }
  bool number_float(double value, const std::string&) override { return Add(value) != nullptr; }
  bool string(std::string& value) override { return Add(std::move(value)) != nullptr; }
  bool binary(json::binary_t&) override { return Fail("holds binary data"); }
  bool start_object(size_t) override { return Enter(json::object()); }
  bool end_object() override { return Leave(); }
  bool start_array(size_t) override { return Enter(json::array()); }
  bool end_array() override { return Leave(); }

  bool key(std::string& name) override {
    if (open_.back()->contains(name)) {
      return Fail(absl::StrCat("holds the key \"", name, "\" twice in one object"));
    }
    key_ = std::move(name);
    return true;
  }

  bool parse_error(size_t position, const std::string&, const json::exception&) override {
    return Fail(absl::StrCat("is not well-formed JSON at byte ", position));
  }

 private:
  json* Add(json value) {
    if (open_.empty()) {
      document_ = std::move(value);
      return &document_;
    }
    if (open_.back()->is_array()) {
      open_.back()->push_back(std::move(value));
      return &open_.back()->back();
    }
    json& slot = (*open_.back())[key_];
    slot = std::move(value);
    return &slot;
  }

  // The pointers stay valid: only the innermost open container grows.
  bool Enter(json container) {
    if (static_cast<int>(open_.size()) >= depth_max_) {
      return Fail(absl::StrCat("nests deeper than ", depth_max_, " levels"));
    }
    open_.push_back(Add(std::move(container)));
    return true;
  }

  bool Leave() {
    open_.pop_back();
    return true;
  }

  bool Fail(std::string error) {
    error_ = std::move(error);
    return false;
  }

  const int depth_max_;
  json document_;
  std::vector<json*> open_;
  std::string key_;
  std::string error_;
};

}  // namespace

absl::StatusOr<json> ParseStrictJson(std::string_view text, const std::string& path,
                                     int depth_max) {
  if (const size_t bad = FirstInvalidUtf8(text); bad != std::string_view::npos) {
    return absl::DataLossError(absl::StrCat(path, " is not UTF-8 at byte ", bad));
  }
  StrictBuilder builder(depth_max);
  if (!json::sax_parse(text.begin(), text.end(), &builder)) {
    return absl::DataLossError(absl::StrCat(path, " ", builder.error()));
  }
  return builder.TakeDocument();
}

}  // namespace headgate
