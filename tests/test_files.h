// Where the files of tests lie, and the whole of a file.
#pragma once

#include <fstream>
#include <sstream>
#include <string>

namespace headgate {

// tests/data/models/<name> and tests/golden/<name>.
inline std::string TestModel(const std::string& name) {
  return std::string(HEADGATE_SOURCE_DIR) + "/tests/data/models/" + name;
}
inline std::string GoldenFile(const std::string& name) {
  return std::string(HEADGATE_SOURCE_DIR) + "/tests/golden/" + name;
}

// Empty when it cannot be read to its end: a folder, or /proc's file of a process that is gone.
inline std::string ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();  // where an iterator would throw, this fails
  return text ? text.str() : "";
}

}  // namespace headgate
