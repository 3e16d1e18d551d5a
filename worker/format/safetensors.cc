#include "worker/format/safetensors.h"

#include <array>
#include <cstdlib>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/format/safetensors_header.h"

namespace headgate {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr size_t kAlignment = 64;

absl::StatusOr<std::string> ReadHeader(const StoredFile& file) {
  if (file.size() < kLengthBytes) {
    return absl::DataLossError(absl::StrCat("HeaderTooSmall: ", file.path(), ": has ", file.size(),
                                            " bytes, a safetensors file at least 8"));
  }
  std::array<std::byte, kLengthBytes> raw;
  RETURN_IF_ERROR(file.ReadAt(0, raw));
  uint64_t length = 0;
  for (size_t i = 0; i < raw.size(); ++i) length |= std::to_integer<uint64_t>(raw[i]) << (8 * i);
  if (length > kSafetensorsHeaderBytesMax) {
    return absl::DataLossError(absl::StrCat("HeaderTooLarge: ", file.path(), ": byte 0: header of ",
                                            length, " bytes, the limit is ",
                                            kSafetensorsHeaderBytesMax));
  }
  if (length > file.size() - kLengthBytes) {
    return absl::DataLossError(absl::StrCat("InvalidHeaderLength: ", file.path(),
                                            ": byte 0: header of ", length, " bytes in a file of ",
                                            file.size(), "; is the download complete?"));
  }
  std::string header(length, '\0');
  RETURN_IF_ERROR(file.ReadAt(kLengthBytes, std::as_writable_bytes(std::span<char>(header))));
  return header;
}

}  // namespace

int64_t TensorInfo::elements() const {
  int64_t product = 1;
  for (const int64_t n : shape) product *= n;
  return product;
}

std::string ShapeString(std::span<const int64_t> shape) {
  return absl::StrCat("[", absl::StrJoin(shape, ", "), "]");
}

void TensorBytes::Free::operator()(std::byte* data) const { std::free(data); }

absl::StatusOr<TensorBytes> TensorBytes::Allocate(uint64_t bytes) {
  const uint64_t rounded = (bytes / kAlignment + 1) * kAlignment;
  auto* data = static_cast<std::byte*>(std::aligned_alloc(kAlignment, rounded));
  if (data == nullptr) {
    return absl::ResourceExhaustedError(absl::StrCat("no memory for ", bytes, " bytes of weights"));
  }
  return TensorBytes(data, bytes);
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  ASSIGN_OR_RETURN(StoredFile file, StoredFile::Open(path));
  ASSIGN_OR_RETURN(const std::string header, ReadHeader(file));
  ASSIGN_OR_RETURN(std::vector<TensorInfo> tensors,
                   ParseSafetensorsHeader(header, path, kLengthBytes, file.size()));
  return SafetensorsFile(std::move(file), std::move(tensors));
}

SafetensorsFile::SafetensorsFile(StoredFile file, std::vector<TensorInfo> tensors)
    : file_(std::move(file)), tensors_(std::move(tensors)) {
  index_.reserve(tensors_.size());
  for (size_t i = 0; i < tensors_.size(); ++i) index_.emplace(tensors_[i].name, i);
}

const TensorInfo* SafetensorsFile::Find(const std::string& name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &tensors_[found->second];
}

absl::StatusOr<TensorBytes> SafetensorsFile::Read(const TensorInfo& info) const {
  ASSIGN_OR_RETURN(TensorBytes data, TensorBytes::Allocate(info.bytes));
  RETURN_IF_ERROR(ReadRange(info, 0, data.mutable_bytes()));
  return data;
}

absl::Status SafetensorsFile::ReadRows(const TensorInfo& info, int64_t first_row, int64_t rows,
                                       std::span<std::byte> out) const {
  CHECK(!info.shape.empty()) << info.name << " has no rows";
  CHECK(0 <= first_row && 0 <= rows && rows <= info.shape[0] - first_row)
      << info.name << " has no rows " << first_row << " to " << first_row + rows;
  if (rows == 0) return absl::OkStatus();
  const uint64_t row_bytes = info.bytes / static_cast<uint64_t>(info.shape[0]);
  CHECK_EQ(out.size(), static_cast<uint64_t>(rows) * row_bytes) << info.name;
  return ReadRange(info, static_cast<uint64_t>(first_row) * row_bytes, out);
}

absl::Status SafetensorsFile::ReadRange(const TensorInfo& info, uint64_t begin,
                                        std::span<std::byte> out) const {
  const absl::Status read = file_.ReadAt(info.file_offset + begin, out);
  if (read.ok()) return absl::OkStatus();
  return absl::Status(read.code(), absl::StrCat("tensor ", info.name, ": ", read.message()));
}

}  // namespace headgate
