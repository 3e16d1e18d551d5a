#include "worker/format/weight_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "safetensors_bytes.h"
#include "tests/test_files.h"
#include "tests/test_folder.h"
#include "worker/format/model_config.h"

namespace headgate {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SmallModelTest : public ::testing::TestWithParam<const char*> {};

// The small models were written by transformers' names, so this checks the table of names.
TEST_P(SmallModelTest, CheckpointHoldsExactlyThePlan) {
  const std::string folder = TestModel(GetParam());
  const auto shape = ReadModelConfig(folder);
  ASSERT_TRUE(shape.ok()) << shape.status();
  const auto checkpoint = Checkpoint::Open(folder);
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  EXPECT_EQ(CheckWeights(*checkpoint, *shape), absl::OkStatus());
  EXPECT_EQ(ExpectedTensors(*shape).size(), checkpoint->size());
  for (const ExpectedTensor& tensor : ExpectedTensors(*shape)) {
    EXPECT_EQ(tensor.name, WeightName(tensor.part, tensor.layer));
  }
}

INSTANTIATE_TEST_SUITE_P(Families, SmallModelTest,
                         ::testing::Values("llama3", "llama2_bias", "mistral", "qwen2", "qwen3"));

class CheckWeightsTest : public ::testing::Test {
 protected:
  CheckWeightsTest() {
    shape_.architecture = "LlamaForCausalLM";
    shape_.layers = 1;
    shape_.hidden = 2;
    shape_.intermediate = 3;
    shape_.heads = shape_.kv_heads = 1;
    shape_.head_dim = 2;
    shape_.vocab = 2;
    shape_.tied_embeddings = true;
    tensors_ = ExpectedTensors(shape_);
  }

  ExpectedTensor& Tensor(WeightPart part) {
    for (ExpectedTensor& tensor : tensors_) {
      if (tensor.part == part) return tensor;
    }
    return tensors_.emplace_back();
  }

  // Writes tensors_ and checks them against shape_.
  absl::Status Check(const std::string& dtype = "BF16", size_t element_bytes = 2) {
    std::string header = "{";
    size_t end = 0;
    for (const ExpectedTensor& tensor : tensors_) {
      size_t bytes = element_bytes;
      for (const int64_t n : tensor.shape) bytes *= static_cast<size_t>(n);
      header += (end == 0 ? "\"" : ",\"") + tensor.name + "\":{\"dtype\":\"" + dtype +
                "\",\"shape\":" + ShapeString(tensor.shape) + ",\"data_offsets\":[" +
                std::to_string(end) + "," + std::to_string(end + bytes) + "]}";
      end += bytes;
    }
    folder_.Write("model.safetensors", Safetensors(header + "}", std::string(end, 'x')));
    const auto checkpoint = Checkpoint::Open(folder_.path());
    if (!checkpoint.ok()) return checkpoint.status();
    return CheckWeights(*checkpoint, shape_);
  }

  void ExpectRefused(const std::string& tensor, const std::string& why) {
    const absl::Status status = Check();
    EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("tensor " + tensor), HasSubstr(why), HasSubstr(folder_.path())));
  }

  TestFolder folder_;
  ModelShape shape_;
  std::vector<ExpectedTensor> tensors_;
};

TEST_F(CheckWeightsTest, AcceptsThePlan) {
  EXPECT_EQ(Check(), absl::OkStatus());
  EXPECT_EQ(Check("F32", 4), absl::OkStatus());
}

TEST_F(CheckWeightsTest, MissingTensor) {
  std::erase_if(tensors_, [](const auto& t) { return t.part == WeightPart::kUp; });
  ExpectRefused("model.layers.0.mlp.up_proj.weight", "[3, 2]");
}

TEST_F(CheckWeightsTest, WrongShape) {
  Tensor(WeightPart::kDown).shape = {3, 2};
  ExpectRefused("model.layers.0.mlp.down_proj.weight", "has shape [3, 2]");
}

TEST_F(CheckWeightsTest, WrongRank) {
  Tensor(WeightPart::kFinalNorm).shape = {2, 1};
  ExpectRefused("model.norm.weight", "has shape [2, 1]");
}

TEST_F(CheckWeightsTest, WrongType) {
  const absl::Status status = Check("I16");
  EXPECT_TRUE(absl::IsFailedPrecondition(status)) << status;
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("model.embed_tokens.weight"), HasSubstr("I16")));
}

TEST_F(CheckWeightsTest, UnknownTensor) {
  tensors_.push_back({WeightPart::kQueryBias, 0, "model.layers.0.self_attn.q_proj.bias", {2}});
  ExpectRefused("model.layers.0.self_attn.q_proj.bias", "has no place");
}

TEST_F(CheckWeightsTest, LayerTooMany) {
  shape_.layers = 2;
  tensors_ = ExpectedTensors(shape_);
  shape_.layers = 1;
  ExpectRefused("model.layers.1.", "has no place");
}

TEST_F(CheckWeightsTest, RedundantTensorsAreIgnored) {
  tensors_.push_back({WeightPart::kHead, -1, "lm_head.weight", {2, 2}});
  tensors_.push_back({WeightPart::kHead, -1, "model.layers.0.self_attn.rotary_emb.inv_freq", {1}});
  EXPECT_EQ(Check(), absl::OkStatus());
  shape_.tied_embeddings = false;
  EXPECT_EQ(Check(), absl::OkStatus());
}

}  // namespace
}  // namespace headgate
