#include "server/template/model_template.h"

#include "gtest/gtest.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

class ModelTemplateTest : public ::testing::Test {
 protected:
  void Write(const std::string& name, const std::string& text) { folder_.Write(name, text); }
  auto Load() { return LoadChatTemplate(folder_.path()); }

  const TestFolder folder_;
};

TEST_F(ModelTemplateTest, StringTemplateAndTokens) {
  Write("tokenizer_config.json",
        R"({"chat_template": "{{ bos_token }}x", "bos_token": "<s>",
            "eos_token": {"content": "</s>", "lstrip": false}})");
  const auto loaded = Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  ASSERT_TRUE(loaded->has_value());
  EXPECT_EQ((*loaded)->bos_token, "<s>");
  EXPECT_EQ((*loaded)->eos_token, "</s>");
  const auto pieces = (*loaded)->chat_template.Render({{"bos_token", "<s>"}}, ManualClock());
  EXPECT_EQ(JoinPieces(*pieces), "<s>x");
}

TEST_F(ModelTemplateTest, ListOfNamedTemplates) {
  Write("tokenizer_config.json",
        R"({"chat_template": [{"name": "tool_use", "template": "t"},
                              {"name": "default", "template": "d"}], "bos_token": null})");
  const auto loaded = Load();
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  EXPECT_EQ((*loaded)->source, "d");
  EXPECT_EQ((*loaded)->bos_token, "");
}

TEST_F(ModelTemplateTest, FileWinsOverConfig) {
  Write("tokenizer_config.json", R"({"chat_template": "config"})");
  Write("chat_template.jinja", "file");
  EXPECT_EQ((*Load())->source, "file");
}

TEST_F(ModelTemplateTest, NoTemplateIsNoError) {
  Write("tokenizer_config.json", R"({"bos_token": "<s>"})");
  const auto loaded = Load();
  ASSERT_TRUE(loaded.ok());
  EXPECT_FALSE(loaded->has_value());
}

TEST_F(ModelTemplateTest, RefusesWhatItCannotUnderstand) {
  EXPECT_EQ(Load().status().code(), absl::StatusCode::kNotFound);
  for (const std::string config :
       {"[]", R"({"chat_template": 1})", R"({"chat_template": [1]})",
        R"({"chat_template": [{"name": "rag", "template": "x"}]})",
        R"({"chat_template": "x", "bos_token": 5})", R"({"chat_template": "{% nosuch %}"})"}) {
    Write("tokenizer_config.json", config);
    EXPECT_EQ(Load().status().code(), absl::StatusCode::kInvalidArgument) << config;
  }
  for (const std::string config : {"", "{", R"({"bos_token": "<s>", "bos_token": "<t>"})"}) {
    Write("tokenizer_config.json", config);
    EXPECT_EQ(Load().status().code(), absl::StatusCode::kDataLoss) << config;
  }
}

}  // namespace
}  // namespace headgate
