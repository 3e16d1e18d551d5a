#include "worker/format/rope_config.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "worker/format/model_config.h"

namespace headgate {
namespace {

constexpr double kThetaMax = 1e12;
constexpr double kFactorMax = 1e4;

// Whole heads only: some models of other families rotate a part of each head.
absl::Status RefusePartialRotary(const ConfigValues& values) {
  ASSIGN_OR_RETURN(const double share, values.Number("partial_rotary_factor", 0.0, 1.0, 1.0));
  if (share == 1.0) return absl::OkStatus();
  return values.Unsupported("partial_rotary_factor", "is not 1, which is not supported");
}

absl::Status ReadScaling(const ConfigValues& values, RopeParams& rope) {
  const std::string key = values.Has("rope_type") ? "rope_type" : "type";
  ASSIGN_OR_RETURN(const std::string kind, values.Text(key, "default"));
  if (kind == "default") return absl::OkStatus();
  if (kind != "linear" && kind != "llama3") {
    return values.Unsupported(key,
                              absl::StrCat("is ", kind,
                                           ", which is not supported (supported: default, linear, "
                                           "llama3)"));
  }
  ASSIGN_OR_RETURN(rope.factor, values.Number("factor", 1.0, kFactorMax));
  if (kind == "linear") {
    rope.kind = RopeKind::kLinear;
    return absl::OkStatus();
  }
  rope.kind = RopeKind::kLlama3;
  ASSIGN_OR_RETURN(rope.low_freq_factor, values.Number("low_freq_factor", 1e-3, kFactorMax));
  ASSIGN_OR_RETURN(rope.high_freq_factor, values.Number("high_freq_factor", 1e-3, kFactorMax));
  if (!(rope.low_freq_factor < rope.high_freq_factor)) {
    return values.Invalid("high_freq_factor", "must be above low_freq_factor");
  }
  ASSIGN_OR_RETURN(rope.original_max_positions,
                   values.Integer("original_max_position_embeddings", 1, kPositionsMax));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RopeParams> ReadRopeParams(const ConfigValues& config) {
  RopeParams rope;
  RETURN_IF_ERROR(RefusePartialRotary(config));
  if (config.Has("rope_parameters")) {
    ASSIGN_OR_RETURN(const ConfigValues values, config.Object("rope_parameters"));
    RETURN_IF_ERROR(RefusePartialRotary(values));
    ASSIGN_OR_RETURN(rope.theta, values.Number("rope_theta", 1.0, kThetaMax));
    RETURN_IF_ERROR(ReadScaling(values, rope));
    return rope;
  }
  ASSIGN_OR_RETURN(rope.theta, config.Number("rope_theta", 1.0, kThetaMax, rope.theta));
  if (config.Has("rope_scaling")) {
    ASSIGN_OR_RETURN(const ConfigValues values, config.Object("rope_scaling"));
    RETURN_IF_ERROR(ReadScaling(values, rope));
  }
  return rope;
}

}  // namespace headgate
