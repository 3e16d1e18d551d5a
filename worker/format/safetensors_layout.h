// Where the tensors of a .safetensors header lie in the file, and whether that can be. Pure
// functions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "worker/format/safetensors.h"

namespace headgate {

// One tensor as the header describes it, not checked yet.
struct HeaderEntry {
  TensorInfo info;  // name and stored_type
  std::vector<uint64_t> shape;
  std::vector<uint64_t> offsets;  // from the end of the header
  unsigned fields = 0;            // which ones the reader has seen
};

// Checks types, shapes and offsets, and returns the tensors in the order of their bytes. The header
// ends at byte `data_offset` of the file, `data_bytes` follow it. Errors as
// SafetensorsFile::Open's.
absl::StatusOr<std::vector<TensorInfo>> LayOut(std::vector<HeaderEntry> entries,
                                               const std::string& path, uint64_t data_offset,
                                               uint64_t data_bytes);

// DATA_LOSS "<name>: <path>: byte <byte>: <problem>".
absl::Status HeaderError(absl::string_view name, const std::string& path, uint64_t byte,
                         absl::string_view problem);

// A name out of the file, escaped and cut, so that it cannot forge a log line.
std::string ShownName(absl::string_view name);

}  // namespace headgate
