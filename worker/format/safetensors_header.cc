#include "worker/format/safetensors_header.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <string>
#include <unordered_set>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status_macros.h"
#include "nlohmann/json.hpp"
#include "worker/format/utf8.h"

namespace headgate {
namespace {

using nlohmann::json;

constexpr size_t kRankMax = 8;
constexpr size_t kNameBytesShown = 200;

struct StoredType {
  absl::string_view name;
  uint64_t bits;
  std::optional<DType> dtype;
};

constexpr StoredType kStoredTypes[] = {
    {"F32", 32, DType::kF32},
    {"F16", 16, DType::kF16},
    {"BF16", 16, DType::kBF16},
    {"BOOL", 8, {}},
    {"U8", 8, {}},
    {"I8", 8, {}},
    {"F8_E5M2", 8, {}},
    {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},
    {"I16", 16, {}},
    {"U16", 16, {}},
    {"I32", 32, {}},
    {"U32", 32, {}},
    {"F64", 64, {}},
    {"I64", 64, {}},
    {"U64", 64, {}},
    {"C64", 64, {}},
    {"F4", 4, {}},
    {"F6_E2M3", 6, {}},
    {"F6_E3M2", 6, {}},
};

const StoredType* FindStoredType(absl::string_view name) {
  const auto* found = std::find_if(std::begin(kStoredTypes), std::end(kStoredTypes),
                                   [&](const StoredType& type) { return type.name == name; });
  return found == std::end(kStoredTypes) ? nullptr : found;
}

// Names come from the file: shown escaped and cut, so that they cannot forge a log line.
std::string Shown(absl::string_view name) {
  return absl::CHexEscape(name.substr(0, kNameBytesShown));
}

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
  struct Entry {
    TensorInfo info;
    std::vector<uint64_t> shape;
    std::vector<uint64_t> offsets;
    unsigned fields = 0;  // bits of Field
  };

  HeaderReader() = default;

  const std::string& error_name() const { return error_name_; }
  const std::string& error() const { return error_; }
  std::vector<Entry>& entries() { return entries_; }

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
      return Fail(kStructure, absl::StrCat("holds the key \"", Shown(name), "\" twice"));
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
      return Fail(kStructure, absl::StrCat("has the unknown field \"", Shown(name), "\""));
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
    error_ = in_entry ? absl::StrCat("tensor ", Shown(name_), " ", problem)
                      : absl::StrCat("the header ", problem);
    return false;
  }

  Place place_ = Place::kOutside;
  Field field_ = kDtype;
  std::string name_;  // of the entry being read
  std::unordered_set<std::string> tensor_names_;
  std::unordered_set<std::string> metadata_names_;
  std::vector<Entry> entries_;
  std::string error_name_;
  std::string error_;
};

absl::Status Error(absl::string_view name, const std::string& path, uint64_t byte,
                   absl::string_view problem) {
  return absl::DataLossError(absl::StrCat(name, ": ", path, ": byte ", byte, ": ", problem));
}

// Sets dtype, shape and bytes of one tensor. Returns the name of the error and the problem; both
// empty when there is none.
std::pair<absl::string_view, std::string> CheckTensor(HeaderReader::Entry& entry) {
  TensorInfo& info = entry.info;
  const StoredType* type = FindStoredType(info.stored_type);
  if (type == nullptr) {
    return {"InvalidHeaderDeserialization",
            absl::StrCat("has the unknown dtype \"", Shown(info.stored_type), "\"")};
  }
  info.dtype = type->dtype;
  // Every factor is checked, also after a zero, so that the shape itself stays in range.
  constexpr uint64_t kMax = std::numeric_limits<int64_t>::max();
  uint64_t bits = type->bits;
  bool empty = false;
  for (const uint64_t n : entry.shape) {
    if (n > kMax || (n != 0 && bits > kMax / n)) {
      return {"ValidationOverflow", "has a shape whose product does not fit 64 bits"};
    }
    info.shape.push_back(static_cast<int64_t>(n));
    if (n == 0) {
      empty = true;
    } else {
      bits *= n;
    }
  }
  if (empty) bits = 0;
  if (entry.offsets.size() != 2 || entry.offsets[0] > entry.offsets[1]) {
    return {"InvalidOffset", "needs data_offsets [begin, end] with begin <= end"};
  }
  info.bytes = entry.offsets[1] - entry.offsets[0];
  if (bits % 8 != 0 || bits / 8 != info.bytes) {
    return {"TensorInvalidInfo",
            absl::StrCat("is ", info.stored_type, " ", ShapeString(info.shape), ", ", bits,
                         " bits, but its data_offsets span ", info.bytes, " bytes")};
  }
  return {};
}

absl::StatusOr<std::vector<TensorInfo>> CheckEntries(std::vector<HeaderReader::Entry>& entries,
                                                     const std::string& path, uint64_t data_offset,
                                                     uint64_t data_bytes) {
  std::vector<TensorInfo> tensors;
  tensors.reserve(entries.size());
  for (HeaderReader::Entry& entry : entries) {
    if (const auto [error, problem] = CheckTensor(entry); !error.empty()) {
      const uint64_t begin = entry.offsets.empty() ? 0 : entry.offsets[0];
      return Error(error, path, data_offset + begin,
                   absl::StrCat("tensor ", Shown(entry.info.name), " ", problem));
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.offsets < b.offsets; });
  uint64_t end = 0;
  for (HeaderReader::Entry& entry : entries) {
    if (entry.offsets[0] != end) {
      return Error("InvalidOffset", path, data_offset + entry.offsets[0],
                   absl::StrCat("tensor ", Shown(entry.info.name),
                                entry.offsets[0] < end ? " overlaps the one before it, which ends"
                                                       : " leaves a hole after the one before it,"
                                                         " which ends",
                                " at byte ", data_offset + end));
    }
    end = entry.offsets[1];
    if (end > data_bytes) {
      return Error("MetadataIncompleteBuffer", path, data_offset + entry.offsets[0],
                   absl::StrCat("tensor ", Shown(entry.info.name), " ends at byte ",
                                data_offset + end, ", the file at byte ", data_offset + data_bytes,
                                "; is the download complete?"));
    }
    entry.info.file_offset = data_offset + entry.offsets[0];
    tensors.push_back(std::move(entry.info));
  }
  if (end != data_bytes) {
    return Error("MetadataIncompleteBuffer", path, data_offset + end,
                 absl::StrCat("the last tensor ends here, the file only at byte ",
                              data_offset + data_bytes));
  }
  return tensors;
}

}  // namespace

absl::StatusOr<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view header,
                                                               const std::string& path,
                                                               uint64_t header_offset,
                                                               uint64_t file_bytes) {
  if (const size_t good = WellFormedUtf8Prefix(header); good != header.size()) {
    return Error("InvalidHeader", path, header_offset + good, "the header is not UTF-8");
  }
  const size_t json_end = header.find_last_not_of(' ');
  if (header.empty() || header.front() != '{' || header[json_end] != '}') {
    return Error("InvalidHeaderDeserialization", path, header_offset,
                 "the header is not a JSON object padded with spaces");
  }
  size_t at = 0;
  HeaderReader reader;
  if (!json::sax_parse(CountingIterator(header.data(), &at),
                       CountingIterator(header.data() + header.size(), &at), &reader)) {
    return Error(reader.error_name(), path, header_offset + at, reader.error());
  }
  const uint64_t data_offset = header_offset + header.size();
  return CheckEntries(reader.entries(), path, data_offset, file_bytes - data_offset);
}

}  // namespace headgate
