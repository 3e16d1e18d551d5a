// Where the data of these tests lies, and raw safetensors files.
#pragma once

#include <fstream>
#include <iterator>
#include <string>

namespace headgate {

// tests/data/models/<name> and tests/golden/<name>.
inline std::string SmallModel(const std::string& name) {
  return std::string(HEADGATE_SOURCE_DIR) + "/tests/data/models/" + name;
}
inline std::string Golden(const std::string& name) {
  return std::string(HEADGATE_SOURCE_DIR) + "/tests/golden/" + name;
}

inline std::string ReadAll(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The length word, `header` as it is, and `data`.
inline std::string Safetensors(const std::string& header, const std::string& data) {
  std::string bytes;
  for (int i = 0; i < 8; ++i) bytes.push_back(static_cast<char>(header.size() >> (8 * i)));
  return bytes + header + data;
}

}  // namespace headgate
