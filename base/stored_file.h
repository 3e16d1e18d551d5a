// A regular file that is read at offsets into our own memory. Thread safe after Open.
//
// Not mapped: a mapped file that is cut short while it is in use ends the process with SIGBUS in
// whatever code touches the page; a read reports it as a status that names the file. The page cache
// is shared between ranks all the same, and a weight is copied once anyway when it is packed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace headgate {

class StoredFile final {
 public:
  // NOT_FOUND, PERMISSION_DENIED or FAILED_PRECONDITION (not a regular file); names the path.
  static absl::StatusOr<StoredFile> Open(std::string path);

  StoredFile(StoredFile&& other) noexcept;
  StoredFile& operator=(StoredFile&& other) noexcept;
  ~StoredFile();

  const std::string& path() const { return path_; }
  uint64_t size() const { return size_; }  // bytes, when it was opened

  // Fills `out` from byte `offset` on. DATA_LOSS when the file has been shortened or changed since
  // Open, or the disk fails; names path and offset.
  absl::Status ReadAt(uint64_t offset, std::span<std::byte> out) const;

 private:
  StoredFile(std::string path, int descriptor, uint64_t size, int64_t modified_ns);

  absl::Status CheckUnchanged() const;

  std::string path_;
  int descriptor_ = -1;
  uint64_t size_ = 0;
  int64_t modified_ns_ = 0;  // st_mtim when it was opened
};

// A whole small file. As Open and ReadAt; FAILED_PRECONDITION when it is larger than `bytes_max`.
absl::StatusOr<std::string> ReadSmallFile(const std::string& path, uint64_t bytes_max);

}  // namespace headgate
