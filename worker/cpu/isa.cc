// Run-time detection of the instruction set.
#include "worker/cpu/isa.h"

#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "absl/strings/str_cat.h"
#include "worker/cpu/amx_tile.h"

namespace headgate {
namespace {

#if defined(__x86_64__)
bool HasAvx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
         __builtin_cpu_supports("f16c");
}

bool HasAvx512() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
}

// Runs the probe in a child, so that a fault ends the child only.
bool ProbeAmxInChild() {
  if (!__builtin_cpu_supports("avx512bf16") || !RequestAmxPermission()) return false;
  const pid_t child = fork();
  if (child < 0) return false;
  if (child == 0) _exit(AmxProductIsRight() ? 0 : 1);
  int state = 0;
  while (waitpid(child, &state, 0) < 0) {
    if (errno != EINTR) return false;
  }
  return WIFEXITED(state) && WEXITSTATUS(state) == 0;
}

bool HasAmx() {
  static const bool works = ProbeAmxInChild();
  return works;
}
#else
bool HasAvx2() { return false; }
bool HasAvx512() { return false; }
bool HasAmx() { return false; }
#endif

}  // namespace

std::string_view IsaName(IsaLevel level) {
  switch (level) {
    case IsaLevel::kScalar:
      return "scalar";
    case IsaLevel::kAvx2:
      return "avx2";
    case IsaLevel::kAvx512:
      return "avx512";
    case IsaLevel::kAmx:
      return "amx";
  }
  return "?";
}

absl::StatusOr<IsaLevel> IsaFromName(std::string_view name) {
  for (IsaLevel level : {IsaLevel::kScalar, IsaLevel::kAvx2, IsaLevel::kAvx512, IsaLevel::kAmx}) {
    if (name == IsaName(level)) return level;
  }
  return absl::InvalidArgumentError(absl::StrCat(
      "cpu: unknown instruction set '", std::string(name), "': use scalar, avx2, avx512 or amx"));
}

IsaLevel DetectIsa(IsaLevel limit) {
  if (limit == IsaLevel::kScalar || !HasAvx2()) return IsaLevel::kScalar;
  if (limit == IsaLevel::kAvx2 || !HasAvx512()) return IsaLevel::kAvx2;
  if (limit == IsaLevel::kAvx512 || !HasAmx()) return IsaLevel::kAvx512;
  return IsaLevel::kAmx;
}

}  // namespace headgate
