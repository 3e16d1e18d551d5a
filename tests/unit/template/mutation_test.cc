// Mutated templates must end in a status, never crash or hang. Seeded; about two seconds.
#include <fstream>
#include <random>
#include <string>
#include <vector>

#include "absl/time/clock.h"
#include "gtest/gtest.h"
#include "nlohmann/json.hpp"
#include "server/template/chat_template.h"

namespace headgate {
namespace {

using nlohmann::ordered_json;

class Mutator {
 public:
  Mutator(std::vector<std::string> sources, uint32_t seed)
      : sources_(std::move(sources)), random_(seed) {}

  std::string Next() {
    std::string text = sources_[Below(sources_.size())];
    for (size_t i = 1 + Below(4); i > 0; --i) Mutate(&text);
    return text;
  }

 private:
  size_t Below(size_t limit) { return limit == 0 ? 0 : random_() % limit; }

  void Mutate(std::string* text) {
    static constexpr std::string_view kPieces[] = {"{{",
                                                   "}}",
                                                   "{%",
                                                   "%}",
                                                   "-%}",
                                                   "{#",
                                                   "#}",
                                                   "(",
                                                   ")",
                                                   "[",
                                                   "]",
                                                   "{",
                                                   "}",
                                                   "|",
                                                   ".",
                                                   ",",
                                                   "'",
                                                   "\\",
                                                   " if ",
                                                   " else ",
                                                   " is ",
                                                   " not ",
                                                   " in ",
                                                   "**",
                                                   "//",
                                                   "-1",
                                                   "9223372036854775807",
                                                   "[::-1]",
                                                   "|list",
                                                   "|tojson",
                                                   "|map('trim')",
                                                   ".items()",
                                                   "namespace",
                                                   "loop",
                                                   "caller()",
                                                   "{% endif %}",
                                                   "{% for x in messages %}",
                                                   "{% endfor %}",
                                                   "{% set x = [x] %}",
                                                   "\xff",
                                                   "*"};
    const size_t at = Below(text->size() + 1);
    switch (Below(4)) {
      case 0:
        text->erase(at, 1 + Below(12));
        break;
      case 1:
        text->insert(at, kPieces[Below(std::size(kPieces))]);
        break;
      case 2:
        if (at < text->size()) (*text)[at] = static_cast<char>(random_());
        break;
      default: {  // a stretch of another template
        const std::string& other = sources_[Below(sources_.size())];
        const size_t from = Below(other.size());
        text->insert(at, other.substr(from, Below(60)));
      }
    }
  }

  const std::vector<std::string> sources_;
  std::mt19937 random_;
};

TEST(TemplateMutation, NeverCrashesOrHangs) {
  std::ifstream file(HEADGATE_SOURCE_DIR "/tests/data/templates/vectors.json");
  const ordered_json vectors = ordered_json::parse(file);
  std::vector<std::string> sources;
  for (const auto& [name, source] : vectors["templates"].items()) sources.push_back(source);
  for (const ordered_json& test : vectors["cases"]) {
    if (test.contains("source")) sources.push_back(test["source"]);
  }
  std::vector<ordered_json> contexts;
  for (const auto& [name, context] : vectors["contexts"].items()) contexts.push_back(context);
  const TemplateLimits limits = {.steps_max = 20'000,
                                 .output_bytes_max = 1 << 16,
                                 .memory_bytes_max = 4 << 20,
                                 .range_max = 1000};
  Mutator mutator(std::move(sources), 20240726);
  const ManualClock clock;
  const absl::Time end = absl::Now() + absl::Seconds(2);
  int parsed_count = 0;
  int rendered_count = 0;
  for (int i = 0; i < 100'000 && absl::Now() < end; ++i) {
    const absl::StatusOr<ChatTemplate> parsed = ChatTemplate::Parse(mutator.Next(), limits);
    if (!parsed.ok()) continue;
    ++parsed_count;
    const auto pieces = parsed->Render(contexts[static_cast<size_t>(i) % contexts.size()], clock);
    if (!pieces.ok()) continue;
    ++rendered_count;
    EXPECT_LE(JoinPieces(*pieces).size(), limits.output_bytes_max);
    for (size_t p = 1; p < pieces->size(); ++p) {
      EXPECT_FALSE((*pieces)[p].text.empty());
      EXPECT_NE((*pieces)[p].from_template, (*pieces)[p - 1].from_template);
    }
  }
  EXPECT_GT(parsed_count, 100);
  EXPECT_GT(rendered_count, 50);
}

}  // namespace
}  // namespace headgate
