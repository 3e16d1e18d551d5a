// The headgate binary of this build, run to its end.
#pragma once

#include <sys/wait.h>

#include <cstdlib>
#include <string>

#include "absl/strings/str_cat.h"
#include "tests/test_files.h"
#include "tests/test_folder.h"

namespace headgate {

struct Ended {
  int code = -1;
  std::string out;  // stdout
  std::string log;  // stderr

  std::string LastLogLine() const {
    const size_t end = log.find_last_not_of('\n');
    if (end == std::string::npos) return "";
    const size_t before = log.rfind('\n', end);
    const size_t begin = before == std::string::npos ? 0 : before + 1;
    return log.substr(begin, end + 1 - begin);
  }
};

// `args` as a shell reads them. `timeout` gives 124 to what would go on.
inline Ended RunHeadgate(const std::string& args, int seconds_max = 20) {
  const TestFolder folder;
  const std::string command = absl::StrCat("timeout ", seconds_max, " ", HEADGATE_BINARY, " ", args,
                                           " >", folder.At("out"), " 2>", folder.At("log"));
  const int status = std::system(command.c_str());
  return {WIFEXITED(status) ? WEXITSTATUS(status) : -1, ReadFile(folder.At("out")),
          ReadFile(folder.At("log"))};
}

}  // namespace headgate
