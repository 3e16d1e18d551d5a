#include "cli/bench/shape_flags.h"

#include "absl/strings/str_join.h"
#include "worker/model/named_shape.h"

namespace headgate {

void AddShapeFlags(CLI::App& command, ShapeFlags& flags) {
  command.add_option("--shape", flags.shape, absl::StrJoin(ShapeNames(), ", "))
      ->capture_default_str();
  command.add_option("--device", flags.device, "cpu, cuda or cuda:<number>")->capture_default_str();
  command.add_option("--policy", flags.policy, "DuoAttention pattern folder");
  command.add_option("--sparsity", flags.sparsity, "with --policy: share of streaming heads")
      ->check(CLI::Range(0.0, 1.0));
}

}  // namespace headgate
