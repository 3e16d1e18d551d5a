// A temporary model folder and raw safetensors files for the tests here.
#pragma once

#include <unistd.h>

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>

#include "base/check.h"

namespace headgate {

class ModelFolder {
 public:
  ModelFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "headgate_format_XXXXXX").string();
    CHECK(::mkdtemp(name.data()) != nullptr) << "cannot make " << name;
    path_ = name;
  }
  ~ModelFolder() { std::filesystem::remove_all(path_); }
  ModelFolder(const ModelFolder&) = delete;
  ModelFolder& operator=(const ModelFolder&) = delete;

  std::string path() const { return path_.string(); }
  std::string At(const std::string& name) const { return (path_ / name).string(); }

  // Returns the path.
  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(At(name), std::ios::binary) << bytes;
    return At(name);
  }
  void CopyFrom(const std::string& folder) const {
    std::filesystem::copy(folder, path_, std::filesystem::copy_options::overwrite_existing);
  }

 private:
  std::filesystem::path path_;
};

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
