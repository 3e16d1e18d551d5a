// The small real model of the integration tests, and what it says greedily (golden).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "headgate/v1/inference.pb.h"
#include "tests/test_files.h"

namespace headgate {

inline const std::string kStories = TestModel("stories260k");

// BOS and the 200 greedy tokens after it.
const std::vector<int32_t>& GoldenIds();

// Prompt = the first `prompt` golden ids; asks for the `output` ids after them.
v1::GenerateRequest GoldenRequest(int64_t prompt, int64_t output);

// Are `ids` a prefix of what follows the first `prompt` golden ids?
bool IsGoldenPrefix(const std::vector<int32_t>& ids, int64_t prompt);

}  // namespace headgate
