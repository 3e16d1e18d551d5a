// A folder of one test: empty at first, gone with all that is in it at the end.
#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

#include "base/check.h"

namespace headgate {

class TestFolder {
 public:
  // Its path is short: unix sockets lie in it.
  TestFolder() : path_((std::filesystem::temp_directory_path() / "hg-test-XXXXXX").string()) {
    CHECK(mkdtemp(path_.data()) != nullptr) << "cannot make " << path_;
  }
  ~TestFolder() {
    std::error_code ignored;
    if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
  }
  TestFolder(TestFolder&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  TestFolder& operator=(TestFolder&&) = delete;

  const std::string& path() const { return path_; }
  std::string At(const std::string& name) const { return path_ + "/" + name; }

  // Returns the path of file `name`, which now holds `bytes`.
  std::string Write(const std::string& name, const std::string& bytes) const {
    std::ofstream(At(name), std::ios::binary) << bytes;
    return At(name);
  }
  // The files of `folder`, which may be changed here.
  void CopyFrom(const std::string& folder) const {
    namespace fs = std::filesystem;
    fs::copy(folder, path_);
    for (const auto& entry : fs::directory_iterator(path_)) {
      fs::permissions(entry.path(), fs::perms::owner_write, fs::perm_options::add);
    }
  }

 private:
  std::string path_;
};

}  // namespace headgate
