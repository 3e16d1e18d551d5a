#include "worker/format/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "safetensors_bytes.h"
#include "tests/test_files.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string OneTensor(const std::string& name, const std::string& four_bytes) {
  return Safetensors(
      std::string("{\"") + name + "\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}",
      four_bytes);
}

class CheckpointTest : public ::testing::Test {
 protected:
  void WriteShards(const std::string& weight_map) {
    folder_.Write("s1.safetensors", OneTensor("a", "aaaa"));
    folder_.Write("s2.safetensors", OneTensor("b", "bbbb"));
    folder_.Write("model.safetensors.index.json",
                  "{\"metadata\":{\"total_size\":8},\"weight_map\":" + weight_map + "}");
  }
  std::string Refusal() {
    const auto checkpoint = Checkpoint::Open(folder_.path());
    if (checkpoint.ok()) return "";
    EXPECT_TRUE(absl::IsDataLoss(checkpoint.status())) << checkpoint.status();
    return std::string(checkpoint.status().message());
  }

  TestFolder folder_;
};

TEST_F(CheckpointTest, OneFile) {
  folder_.Write("model.safetensors", OneTensor("a", "aaaa"));
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_THAT(checkpoint->Names(), ElementsAre("a"));
  EXPECT_EQ(checkpoint->FileOf("a"), folder_.At("model.safetensors"));
  EXPECT_EQ(checkpoint->Find("b"), nullptr);
  EXPECT_TRUE(absl::IsNotFound(checkpoint->Read("b").status()));
}

TEST_F(CheckpointTest, Shards) {
  WriteShards(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->size(), 2u);
  EXPECT_EQ(checkpoint->FileOf("b"), folder_.At("s2.safetensors"));
  const auto bytes = checkpoint->Read("b");
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_EQ(static_cast<char>(bytes->bytes()[3]), 'b');
}

TEST_F(CheckpointTest, SmallModelInThreeShards) {
  const auto checkpoint = Checkpoint::Open(TestModel("mistral"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(checkpoint->size(), 3u + 2u * 9u);
  const std::string name = "model.layers.1.mlp.up_proj.weight";
  const auto whole = checkpoint->Read(name);
  std::vector<std::byte> rows(2 * 64 * 2);
  ASSERT_TRUE(whole.ok() && checkpoint->ReadRows(name, 5, 2, rows).ok());
  const auto wanted = whole->bytes().subspan(5 * 64 * 2, 2 * 64 * 2);
  EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), rows.begin(), rows.end()));
}

TEST_F(CheckpointTest, EmptyFolder) {
  const auto checkpoint = Checkpoint::Open(folder_.path());
  EXPECT_TRUE(absl::IsNotFound(checkpoint.status()));
  EXPECT_THAT(std::string(checkpoint.status().message()),
              AllOf(HasSubstr(folder_.path()), HasSubstr("model.safetensors")));
}

TEST_F(CheckpointTest, ADamagedSingleFileIsNotPassedOver) {
  WriteShards(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  folder_.Write("model.safetensors", "broken");
  EXPECT_THAT(Refusal(), HasSubstr("HeaderTooSmall"));
}

TEST_F(CheckpointTest, ShardNamesStayInTheFolder) {
  for (const char* name :
       {"../s1.safetensors", "/etc/s1.safetensors", "sub/s1.safetensors", "..", ".safetensors",
        "..\\\\s1.safetensors", "", "s1.bin", ".hidden.safetensors", "s1\\u0000.safetensors"}) {
    WriteShards(std::string("{\"a\":\"") + name + "\",\"b\":\"s2.safetensors\"}");
    EXPECT_THAT(Refusal(), AllOf(HasSubstr("model.safetensors.index.json"), HasSubstr("\"a\"")))
        << name;
  }
  WriteShards(std::string("{\"a\":\"") + std::string(300, 'x') + ".safetensors\"}");
  EXPECT_THAT(Refusal(), HasSubstr("\"a\""));
}

TEST_F(CheckpointTest, IndexAndShardsMustAgree) {
  WriteShards(R"({"a":"s2.safetensors","b":"s1.safetensors"})");
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("tensor a"), HasSubstr("s2.safetensors")));
  WriteShards(R"({"a":"s1.safetensors","b":"s2.safetensors","c":"s2.safetensors"})");
  EXPECT_THAT(Refusal(), HasSubstr("tensor c"));
  WriteShards(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  folder_.Write("s2.safetensors",
                Safetensors(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},)"
                            R"("b":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
                            "ab"));
  EXPECT_THAT(Refusal(), AllOf(HasSubstr("s2.safetensors"), HasSubstr("tensor a")));
  WriteShards(R"({"a":"s1.safetensors"})");
  EXPECT_EQ(Refusal(), "");  // a file that no tensor is in does not belong to the model
}

TEST_F(CheckpointTest, MissingShardIsNamed) {
  WriteShards(R"({"a":"s1.safetensors","b":"s3.safetensors"})");
  const auto checkpoint = Checkpoint::Open(folder_.path());
  EXPECT_TRUE(absl::IsNotFound(checkpoint.status()));
  EXPECT_THAT(std::string(checkpoint.status().message()), HasSubstr("s3.safetensors"));
}

TEST_F(CheckpointTest, IndexStructure) {
  for (const char* index :
       {"", "[]", "{}", R"({"weight_map":[]})", R"({"weight_map":{}})", R"({"weight_map":{"a":1}})",
        R"({"weight_map":{"a":"s1.safetensors","a":"s2.safetensors"}})",
        "{\"weight_map\":{\"a\":", "\xff\xfe"}) {
    folder_.Write("model.safetensors.index.json", index);
    EXPECT_THAT(Refusal(), HasSubstr("model.safetensors.index.json")) << index;
  }
}

TEST_F(CheckpointTest, EveryTruncationOfTheIndexIsRefused) {
  WriteShards(R"({"a":"s1.safetensors","b":"s2.safetensors"})");
  const std::string whole = ReadFile(folder_.At("model.safetensors.index.json"));
  for (size_t size = 0; size < whole.size(); ++size) {
    folder_.Write("model.safetensors.index.json", whole.substr(0, size));
    ASSERT_NE(Refusal(), "") << size;
  }
}

}  // namespace
}  // namespace headgate
