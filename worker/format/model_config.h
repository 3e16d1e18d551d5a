// The shape of a model from its folder's config.json and generation_config.json. Pure functions of
// the files; any thread.
//
// Keys: transformers' configuration_{llama,mistral,qwen2,qwen3}.py, both the names of its version 4
// (torch_dtype, rope_theta with rope_scaling) and of its version 5 (dtype, rope_parameters).
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "base/model_shape.h"

namespace headgate {

// What any model may ask for; a file that asks for more is refused before anything is allocated.
inline constexpr int64_t kLayersMax = 1024;
inline constexpr int64_t kHiddenMax = 1 << 17;
inline constexpr int64_t kIntermediateMax = 1 << 20;
inline constexpr int64_t kHeadsMax = 4096;
inline constexpr int64_t kHeadDimMax = 512;
inline constexpr int64_t kVocabMax = 1 << 22;
inline constexpr int64_t kPositionsMax = int64_t{1} << 27;

// Every number of the result is within the limits above, heads divide evenly, head_dim is even, and
// token ids lie in the vocabulary. NOT_FOUND without config.json; DATA_LOSS for broken JSON;
// UNIMPLEMENTED, by name, for an architecture, activation, rope type or option that Headgate does
// not compute; INVALID_ARGUMENT for a bad value. All name the file and, where there is one, the
// key.
absl::StatusOr<ModelShape> ReadModelConfig(const std::string& model_dir);

}  // namespace headgate
