#include "worker/format/safetensors_header.h"

#include <iterator>
#include <string>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/utf8.h"
#include "nlohmann/json.hpp"
#include "worker/format/safetensors_layout.h"

namespace headgate {
namespace {

using nlohmann::json;

constexpr size_t kRankMax = 8;

// Walks the header and says where it is, which the SAX interface does not.
class CountingIterator {
 public:
  using iterator_category = std::input_iterator_tag;
  using value_type = char;
  using difference_type = std::ptrdiff_t;
  using pointer = const char*;
  using reference = const char&;

  CountingIterator(const char* at, size_t* count) : at_(at), count_(count) {}
  reference operator*() const { return *at_; }
  CountingIterator& operator++() {
    ++at_;
    ++*count_;
    return *this;
  }
  bool operator==(const CountingIterator& other) const { return at_ == other.at_; }
  bool operator!=(const CountingIterator& other) const { return at_ != other.at_; }

 private:
  const char* at_;
  size_t* count_;
};

// Reads {"name": {"dtype": T, "shape": [..], "data_offsets": [b, e]}, "__metadata__": {k: string}}
// and refuses every other structure, without building a document.
class HeaderReader final : public nlohmann::json_sax<json> {
 public:
  const std::string& error_name() const { return error_name_; }
  const std::string& error() const { return error_; }
  std::vector<HeaderEntry>& entries() { return entries_; }

  bool null() override { return Unexpected("null"); }
  bool boolean(bool) override { return Unexpected("a boolean"); }
  bool number_integer(int64_t) override { return Unexpected("a negative number"); }
  bool number_float(double, const std::string&) override {
    return Unexpected("a number that is not a 64-bit integer");
  }
  bool binary(json::binary_t&) override { return Unexpected("binary data"); }

  bool number_unsigned(uint64_t value) override {
    if (place_ != Place::kArray) return Unexpected("a number");
    const bool is_shape = field_ == kShape;
    std::vector<uint64_t>& numbers = is_shape ? entries_.back().shape : entries_.back().offsets;
    if (numbers.size() >= (is_shape ? kRankMax : 2)) {
      return Fail("TensorInvalidInfo", "has too many numbers in its shape or data_offsets");
    }
    numbers.push_back(value);
    return true;
  }

  bool string(std::string& value) override {
    if (place_ == Place::kMetadata) return true;
    if (place_ != Place::kTensor || field_ != kDtype) return Unexpected("a string");
    entries_.back().info.stored_type = std::move(value);
    return true;
  }

  bool start_object(size_t) override {
    if (place_ == Place::kOutside) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ != Place::kTop) return Unexpected("an object");
    place_ = name_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
    if (place_ == Place::kTensor) entries_.emplace_back().info.name = name_;
    return true;
  }

  bool end_object() override {
    if (place_ == Place::kTensor && entries_.back().fields != (kDtype | kShape | kOffsets)) {
      return Fail(kStructure, "lacks dtype, shape or data_offsets");
    }
    place_ = place_ == Place::kTop ? Place::kOutside : Place::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || field_ == kDtype) return Unexpected("an array");
    place_ = Place::kArray;
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool key(std::string& name) override {
    if (place_ == Place::kTensor) return FieldKey(name);
    auto& seen = place_ == Place::kTop ? tensor_names_ : metadata_names_;
    if (!seen.insert(name).second) {
      return Fail(kStructure, absl::StrCat("holds the key \"", ShownName(name), "\" twice"));
    }
    if (place_ == Place::kTop) name_ = std::move(name);
    return true;
  }

  bool parse_error(size_t, const std::string&, const json::exception&) override {
    return Fail(kStructure, "is not well-formed JSON");
  }

 private:
  static constexpr const char* kStructure = "InvalidHeaderDeserialization";

  enum class Place { kOutside, kTop, kMetadata, kTensor, kArray };
  enum Field : unsigned { kDtype = 1, kShape = 2, kOffsets = 4 };

  bool FieldKey(const std::string& name) {
    if (name == "dtype") {
      field_ = kDtype;
    } else if (name == "shape") {
      field_ = kShape;
    } else if (name == "data_offsets") {
      field_ = kOffsets;
    } else {
      return Fail(kStructure, absl::StrCat("has the unknown field \"", ShownName(name), "\""));
    }
    unsigned& fields = entries_.back().fields;
    if ((fields & field_) != 0) return Fail(kStructure, absl::StrCat("has ", name, " twice"));
    fields |= field_;
    return true;
  }

  bool Unexpected(absl::string_view what) {
    return Fail(kStructure, absl::StrCat("has ", what, " where none belongs"));
  }

  bool Fail(absl::string_view error_name, absl::string_view problem) {
    error_name_ = std::string(error_name);
    const bool in_entry = place_ != Place::kOutside && place_ != Place::kTop;
    error_ = in_entry ? absl::StrCat("tensor ", ShownName(name_), " ", problem)
                      : absl::StrCat("the header ", problem);
    return false;
  }

  Place place_ = Place::kOutside;
  Field field_ = kDtype;
  std::string name_;  // of the entry being read
  std::unordered_set<std::string> tensor_names_;
  std::unordered_set<std::string> metadata_names_;
  std::vector<HeaderEntry> entries_;
  std::string error_name_;
  std::string error_;
};

}  // namespace

absl::StatusOr<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view header,
                                                               const std::string& path,
                                                               uint64_t header_offset,
                                                               uint64_t file_bytes) {
  if (const size_t bad = FirstInvalidUtf8(header); bad != std::string_view::npos) {
    return HeaderError("InvalidHeader", path, header_offset + bad, "the header is not UTF-8");
  }
  const size_t json_end = header.find_last_not_of(' ');
  if (header.empty() || header.front() != '{' || header[json_end] != '}') {
    return HeaderError("InvalidHeaderDeserialization", path, header_offset,
                       "the header is not a JSON object padded with spaces");
  }
  size_t at = 0;
  HeaderReader reader;
  if (!json::sax_parse(CountingIterator(header.data(), &at),
                       CountingIterator(header.data() + header.size(), &at), &reader)) {
    return HeaderError(reader.error_name(), path, header_offset + at, reader.error());
  }
  const uint64_t data_offset = header_offset + header.size();
  return LayOut(std::move(reader.entries()), path, data_offset, file_bytes - data_offset);
}

}  // namespace headgate
