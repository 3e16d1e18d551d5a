// The JSON header of a .safetensors file, parsed and checked. Pure function.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "worker/format/safetensors.h"

namespace headgate {

// `header` lies at byte `header_offset` of a file of `file_bytes` bytes called `path`; the tensors'
// bytes follow it. Returns the tensors in the order of their bytes, which cover the rest of the
// file without hole or overlap. Memory is bounded by a small multiple of the header's size.
absl::StatusOr<std::vector<TensorInfo>> ParseSafetensorsHeader(std::string_view header,
                                                               const std::string& path,
                                                               uint64_t header_offset,
                                                               uint64_t file_bytes);

}  // namespace headgate
