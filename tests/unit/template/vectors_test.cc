// Differential test against Jinja2: tools/make_template_vectors writes the vectors.
#include <fstream>
#include <string>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/template/chat_template.h"

namespace headgate {
namespace {

using nlohmann::ordered_json;

ordered_json ReadVectors() {
  std::ifstream file(HEADGATE_SOURCE_DIR "/tests/data/templates/vectors.json");
  return ordered_json::parse(file);
}

ManualClock VectorClock() {
  return ManualClock(
      absl::FromCivil(absl::CivilSecond(2024, 7, 26, 13, 5, 9), absl::UTCTimeZone()));
}

// Empty when the case passes.
std::string RunCase(const ordered_json& vectors, const ordered_json& test) {
  const bool is_named = test.contains("template");
  const auto source =
      is_named ? vectors["templates"][test["template"].get<std::string>()] : test["source"];
  const ordered_json& context = vectors["contexts"][test["context"].get<std::string>()];
  const ManualClock clock = VectorClock();
  auto parsed = ChatTemplate::Parse(source.get<std::string>());
  const absl::StatusOr<std::vector<RenderedPiece>> pieces =
      parsed.ok() ? parsed->Render(context, clock) : parsed.status();
  const std::string name =
      is_named ? test["template"].get<std::string>() + " x " + test["context"].get<std::string>()
               : source.get<std::string>();
  if (test.contains("error")) {
    if (pieces.ok()) {
      return name + "\n  want error " + test["error"].get<std::string>() + "\n  got  " +
             JoinPieces(*pieces);
    }
    return "";
  }
  const std::string want = test["output"].get<std::string>();
  if (!pieces.ok())
    return name + "\n  want " + want + "\n  got error " + pieces.status().ToString();
  if (JoinPieces(*pieces) != want)
    return name + "\n  want " + want + "\n  got  " + JoinPieces(*pieces);
  return "";
}

TEST(TemplateVectors, EqualJinja2) {
  const ordered_json vectors = ReadVectors();
  ASSERT_GE(vectors["templates"].size(), 24u);
  ASSERT_GE(vectors["cases"].size(), 500u);
  for (const ordered_json& test : vectors["cases"]) {
    const std::string failure = RunCase(vectors, test);
    EXPECT_TRUE(failure.empty()) << failure;
  }
}

TEST(TemplateVectors, RaisedMessagesReachTheCaller) {
  const ordered_json vectors = ReadVectors();
  const ManualClock clock = VectorClock();
  int raised = 0;
  for (const ordered_json& test : vectors["cases"]) {
    constexpr std::string_view kRaised = "TemplateError: ";
    if (!test.contains("error") || !test.contains("template")) continue;
    const auto error = test["error"].get<std::string>();
    if (error.rfind(kRaised, 0) != 0) continue;
    const auto parsed = ChatTemplate::Parse(
        vectors["templates"][test["template"].get<std::string>()].get_ref<const std::string&>());
    ASSERT_TRUE(parsed.ok());
    const auto pieces =
        parsed->Render(vectors["contexts"][test["context"].get<std::string>()], clock);
    EXPECT_EQ(pieces.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(pieces.status().ToString().find(error.substr(kRaised.size())), std::string::npos);
    ++raised;
  }
  EXPECT_GT(raised, 20);
}

}  // namespace
}  // namespace headgate
