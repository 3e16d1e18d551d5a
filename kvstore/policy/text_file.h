// Reads a small file of a policy bundle.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace headgate {

inline constexpr int64_t kPolicyFileBytesMax = int64_t{4} << 20;

// NOT_FOUND when it cannot be opened, INVALID_ARGUMENT beyond kPolicyFileBytesMax.
absl::StatusOr<std::string> ReadPolicyFile(const std::string& path);

}  // namespace headgate
