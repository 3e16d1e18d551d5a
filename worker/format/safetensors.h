// One .safetensors file: a checked table of tensors, and their bytes on demand. Thread safe after
// Open (Read is const and uses positioned reads).
//
// Format: https://github.com/huggingface/safetensors, README "Format". The file is untrusted: every
// rule of the reference implementation is enforced, and a header that we would have to guess about
// is refused. Messages begin with that implementation's name of the error.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "base/dtype.h"
#include "base/stored_file.h"

namespace headgate {

inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

// Where a tensor lies; row-major, little-endian.
struct TensorInfo {
  std::string name;
  std::string stored_type;     // as in the file: "F32", "I64"
  std::optional<DType> dtype;  // nullopt: a type that no weight has
  std::vector<int64_t> shape;  // slowest dimension first; empty = one number
  uint64_t file_offset = 0;    // of its first byte, from the start of the file
  uint64_t bytes = 0;

  int64_t elements() const;
};

// "[300, 64]"
std::string ShapeString(std::span<const int64_t> shape);

// The bytes of a tensor in our own memory, aligned to 64. Move only.
class TensorBytes final {
 public:
  // RESOURCE_EXHAUSTED when there is no such memory.
  static absl::StatusOr<TensorBytes> Allocate(uint64_t bytes);

  const std::byte* data() const { return data_.get(); }
  std::span<const std::byte> bytes() const { return {data_.get(), size_}; }
  std::span<std::byte> mutable_bytes() { return {data_.get(), size_}; }

 private:
  struct Free {
    void operator()(std::byte* data) const;
  };
  TensorBytes(std::byte* data, size_t size) : data_(data), size_(size) {}

  std::unique_ptr<std::byte, Free> data_;
  size_t size_ = 0;
};

class SafetensorsFile final {
 public:
  // Reads and checks the header; no tensor data. NOT_FOUND and the like from the file system, or
  // DATA_LOSS: "<ErrorName>: <path>: <tensor or header>, byte N: ...".
  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);

  const std::string& path() const { return file_.path(); }
  const std::vector<TensorInfo>& tensors() const { return tensors_; }  // in order of their bytes
  const TensorInfo* Find(const std::string& name) const;               // nullptr = no such tensor

  // Reads one tensor of this file, or `rows` of its first dimension from `first_row` on into `out`.
  // REQUIRES: `info` is one of tensors(); the rows exist, and `out` has their size.
  absl::StatusOr<TensorBytes> Read(const TensorInfo& info) const;
  absl::Status ReadRows(const TensorInfo& info, int64_t first_row, int64_t rows,
                        std::span<std::byte> out) const;

 private:
  SafetensorsFile(StoredFile file, std::vector<TensorInfo> tensors);

  absl::Status ReadRange(const TensorInfo& info, uint64_t begin, std::span<std::byte> out) const;

  StoredFile file_;
  std::vector<TensorInfo> tensors_;
  absl::flat_hash_map<std::string, size_t> index_;
};

}  // namespace headgate
