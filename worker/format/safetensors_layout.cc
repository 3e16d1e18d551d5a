#include "worker/format/safetensors_layout.h"

#include <algorithm>
#include <iterator>
#include <limits>
#include <optional>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace headgate {
namespace {

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

// Sets dtype, shape and bytes of one tensor. Returns the name of the error and the problem; both
// empty when there is none.
std::pair<absl::string_view, std::string> CheckTensor(HeaderEntry& entry) {
  TensorInfo& info = entry.info;
  const StoredType* type = FindStoredType(info.stored_type);
  if (type == nullptr) {
    return {"InvalidHeaderDeserialization",
            absl::StrCat("has the unknown dtype \"", ShownName(info.stored_type), "\"")};
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

}  // namespace

absl::StatusOr<std::vector<TensorInfo>> LayOut(std::vector<HeaderEntry> entries,
                                               const std::string& path, uint64_t data_offset,
                                               uint64_t data_bytes) {
  std::vector<TensorInfo> tensors;
  tensors.reserve(entries.size());
  for (HeaderEntry& entry : entries) {
    if (const auto [error, problem] = CheckTensor(entry); !error.empty()) {
      const uint64_t begin = entry.offsets.empty() ? 0 : entry.offsets[0];
      return HeaderError(error, path, data_offset + begin,
                         absl::StrCat("tensor ", ShownName(entry.info.name), " ", problem));
    }
  }
  std::stable_sort(entries.begin(), entries.end(),
                   [](const auto& a, const auto& b) { return a.offsets < b.offsets; });
  uint64_t end = 0;
  for (HeaderEntry& entry : entries) {
    if (entry.offsets[0] != end) {
      return HeaderError(
          "InvalidOffset", path, data_offset + entry.offsets[0],
          absl::StrCat("tensor ", ShownName(entry.info.name),
                       entry.offsets[0] < end ? " overlaps the one before it, which ends"
                                              : " leaves a hole after the one before it,"
                                                " which ends",
                       " at byte ", data_offset + end));
    }
    end = entry.offsets[1];
    if (end > data_bytes) {
      return HeaderError("MetadataIncompleteBuffer", path, data_offset + entry.offsets[0],
                         absl::StrCat("tensor ", ShownName(entry.info.name), " ends at byte ",
                                      data_offset + end, ", the file at byte ",
                                      data_offset + data_bytes, "; is the download complete?"));
    }
    entry.info.file_offset = data_offset + entry.offsets[0];
    tensors.push_back(std::move(entry.info));
  }
  if (end != data_bytes) {
    return HeaderError("MetadataIncompleteBuffer", path, data_offset + end,
                       absl::StrCat("the last tensor ends here, the file only at byte ",
                                    data_offset + data_bytes));
  }
  return tensors;
}

absl::Status HeaderError(absl::string_view name, const std::string& path, uint64_t byte,
                         absl::string_view problem) {
  return absl::DataLossError(absl::StrCat(name, ": ", path, ": byte ", byte, ": ", problem));
}

std::string ShownName(absl::string_view name) {
  return absl::CHexEscape(name.substr(0, kNameBytesShown));
}

}  // namespace headgate
