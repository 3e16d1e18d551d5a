#include "base/stored_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

constexpr size_t kReadBytesMax = size_t{1} << 30;  // Linux moves at most 2 GiB in one call

int64_t ModifiedNs(const struct stat& info) {
  return int64_t{info.st_mtim.tv_sec} * 1'000'000'000 + info.st_mtim.tv_nsec;
}

}  // namespace

absl::StatusOr<StoredFile> StoredFile::Open(std::string path) {
  // O_NONBLOCK: opening a FIFO must not wait for a writer; it changes nothing for a regular file.
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (descriptor < 0) return absl::ErrnoToStatus(errno, absl::StrCat("cannot open ", path));
  StoredFile file(std::move(path), descriptor, 0, 0);
  struct stat info;
  if (::fstat(descriptor, &info) != 0) {
    return absl::ErrnoToStatus(errno, absl::StrCat("cannot examine ", file.path_));
  }
  if (!S_ISREG(info.st_mode)) {
    return absl::FailedPreconditionError(absl::StrCat(file.path_, " is not a regular file"));
  }
  file.size_ = static_cast<uint64_t>(info.st_size);
  file.modified_ns_ = ModifiedNs(info);
  return file;
}

StoredFile::StoredFile(std::string path, int descriptor, uint64_t size, int64_t modified_ns)
    : path_(std::move(path)), descriptor_(descriptor), size_(size), modified_ns_(modified_ns) {}

StoredFile::StoredFile(StoredFile&& other) noexcept
    : path_(std::move(other.path_)),
      descriptor_(std::exchange(other.descriptor_, -1)),
      size_(other.size_),
      modified_ns_(other.modified_ns_) {}

StoredFile& StoredFile::operator=(StoredFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(size_, other.size_);
  std::swap(modified_ns_, other.modified_ns_);
  return *this;
}

StoredFile::~StoredFile() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

absl::Status StoredFile::ReadAt(uint64_t offset, std::span<std::byte> out) const {
  size_t done = 0;
  while (done < out.size()) {
    const size_t want = std::min(out.size() - done, kReadBytesMax);
    const ssize_t got =
        ::pread(descriptor_, out.data() + done, want, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return absl::DataLossError(absl::StrCat(path_, ": cannot read at byte ", offset + done, ": ",
                                              absl::ErrnoToStatus(errno, "").ToString()));
    }
    if (got == 0) {
      return absl::DataLossError(absl::StrCat(path_, ": ends at byte ", offset + done, ", but had ",
                                              size_, " bytes when it was opened"));
    }
    done += static_cast<size_t>(got);
  }
  return CheckUnchanged();
}

absl::Status StoredFile::CheckUnchanged() const {
  struct stat info;
  if (::fstat(descriptor_, &info) != 0 || static_cast<uint64_t>(info.st_size) != size_ ||
      ModifiedNs(info) != modified_ns_) {
    return absl::DataLossError(
        absl::StrCat(path_, ": was changed while it was being read; replace files, do not edit"));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadSmallFile(const std::string& path, uint64_t bytes_max) {
  ASSIGN_OR_RETURN(const StoredFile file, StoredFile::Open(path));
  if (file.size() > bytes_max) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has ", file.size(), " bytes, more than the limit of ", bytes_max));
  }
  std::string text(file.size(), '\0');
  RETURN_IF_ERROR(file.ReadAt(0, std::as_writable_bytes(std::span<char>(text))));
  return text;
}

}  // namespace headgate
