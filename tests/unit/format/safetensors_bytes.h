// Raw safetensors files, right or wrong.
#pragma once

#include <string>

namespace headgate {

// The length word, `header` as it is, and `data`.
inline std::string Safetensors(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i)));
  return bytes + header + data;
}

}  // namespace headgate
