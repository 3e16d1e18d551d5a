#include "tests/integration/stories.h"

#include <algorithm>
#include <nlohmann/json.hpp>

namespace headgate {

const std::vector<int32_t>& GoldenIds() {
  static const auto* const ids = [] {
    const auto golden = nlohmann::json::parse(ReadFile(GoldenFile("stories260k.json")));
    return new std::vector<int32_t>(golden.at("greedy_ids_from_bos").get<std::vector<int32_t>>());
  }();
  return *ids;
}

v1::GenerateRequest GoldenRequest(int64_t prompt, int64_t output) {
  v1::GenerateRequest request;
  const auto& ids = GoldenIds();
  request.mutable_tokens()->mutable_ids()->Assign(ids.begin(), ids.begin() + prompt);
  request.set_max_tokens(static_cast<int32_t>(output));
  request.set_ignore_eos(true);
  return request;
}

bool IsGoldenPrefix(const std::vector<int32_t>& ids, int64_t prompt) {
  const auto& golden = GoldenIds();
  return static_cast<int64_t>(ids.size()) + prompt <= static_cast<int64_t>(golden.size()) &&
         std::equal(ids.begin(), ids.end(), golden.begin() + prompt);
}

}  // namespace headgate
