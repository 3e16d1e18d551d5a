#include "worker/format/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "nlohmann/json.hpp"
#include "tests/test_files.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

using nlohmann::json;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

json Llama() {
  return json::parse(R"({"architectures":["LlamaForCausalLM"],"model_type":"llama",
    "hidden_size":64,"intermediate_size":96,"num_hidden_layers":2,"num_attention_heads":4,
    "num_key_value_heads":2,"vocab_size":300,"max_position_embeddings":512,"rms_norm_eps":1e-5,
    "rope_theta":20000.0,"hidden_act":"silu","bos_token_id":1,"eos_token_id":2})");
}

json OfFamily(const std::string& architecture, const std::string& type) {
  json config = Llama();
  config["architectures"] = json::array({architecture});
  config["model_type"] = type;
  return config;
}

class ModelConfigTest : public ::testing::Test {
 protected:
  absl::StatusOr<ModelShape> Read(const json& config) {
    folder_.Write("config.json", config.dump());
    return ReadModelConfig(folder_.path());
  }
  // Reads a config that must be accepted.
  ModelShape Shape(const json& config) {
    const auto shape = Read(config);
    EXPECT_TRUE(shape.ok()) << shape.status();
    return shape.ok() ? *shape : ModelShape{};
  }
  void ExpectRefused(const json& config, absl::StatusCode code, const std::string& key,
                     const std::string& why = "") {
    const absl::Status status = Read(config).status();
    EXPECT_EQ(status.code(), code) << status << " for " << key << " in " << config;
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr(folder_.At("config.json")), HasSubstr(key), HasSubstr(why)));
  }
  void ExpectInvalid(const std::string& key, const json& value) {
    json config = Llama();
    config[key] = value;
    ExpectRefused(config, absl::StatusCode::kInvalidArgument, key);
  }

  TestFolder folder_;
};

TEST_F(ModelConfigTest, Llama) {
  const ModelShape shape = Shape(Llama());
  EXPECT_EQ(shape.architecture, "LlamaForCausalLM");
  EXPECT_EQ(shape.layers, 2);
  EXPECT_EQ(shape.hidden, 64);
  EXPECT_EQ(shape.intermediate, 96);
  EXPECT_EQ(shape.heads, 4);
  EXPECT_EQ(shape.kv_heads, 2);
  EXPECT_EQ(shape.head_dim, 16);
  EXPECT_EQ(shape.vocab, 300);
  EXPECT_EQ(shape.max_positions, 512);
  EXPECT_EQ(shape.rms_norm_eps, 1e-5);
  EXPECT_EQ(shape.rope.kind, RopeKind::kDefault);
  EXPECT_EQ(shape.rope.theta, 20000.0);
  EXPECT_FALSE(shape.tied_embeddings || shape.qkv_bias || shape.output_bias || shape.mlp_bias ||
               shape.qk_norm);
  EXPECT_EQ(shape.sliding_window, 0);
  EXPECT_EQ(shape.bos, 1);
  EXPECT_THAT(shape.eos, ElementsAre(2));
}

TEST_F(ModelConfigTest, AbsentAndNullKeysHaveDefaults) {
  json config = Llama();
  for (const char* key : {"num_key_value_heads", "head_dim", "rope_scaling", "bos_token_id"}) {
    config[key] = nullptr;
  }
  for (const char* key : {"rope_theta", "hidden_act", "eos_token_id", "model_type"}) {
    config.erase(key);
  }
  const ModelShape shape = Shape(config);
  EXPECT_EQ(shape.kv_heads, 4);
  EXPECT_EQ(shape.head_dim, 16);
  EXPECT_EQ(shape.rope.theta, 10000.0);
  EXPECT_EQ(shape.bos, -1);
  EXPECT_TRUE(shape.eos.empty());
}

TEST_F(ModelConfigTest, LlamaBiases) {
  json config = Llama();
  config["attention_bias"] = true;
  config["mlp_bias"] = true;
  const ModelShape shape = Shape(config);
  EXPECT_TRUE(shape.qkv_bias && shape.output_bias && shape.mlp_bias);
}

TEST_F(ModelConfigTest, RopeScalingOldAndNewKeys) {
  json config = Llama();
  config["rope_scaling"] = {{"type", "linear"}, {"factor", 4.0}};
  EXPECT_EQ(Shape(config).rope.kind, RopeKind::kLinear);
  EXPECT_EQ(Shape(config).rope.factor, 4.0);

  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", 8.0},
                            {"low_freq_factor", 1.0},
                            {"high_freq_factor", 4.0},
                            {"original_max_position_embeddings", 8192}};
  EXPECT_EQ(Shape(config).rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(Shape(config).rope.original_max_positions, 8192);

  config["rope_parameters"] = config["rope_scaling"];
  config["rope_parameters"]["rope_theta"] = 500000.0;
  config.erase("rope_scaling");
  config.erase("rope_theta");
  EXPECT_EQ(Shape(config).rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(Shape(config).rope.theta, 500000.0);
}

TEST_F(ModelConfigTest, RopeMistakes) {
  const auto with = [](const json& scaling) {
    json config = Llama();
    config["rope_scaling"] = scaling;
    return config;
  };
  using Code = absl::StatusCode;
  ExpectRefused(with({{"rope_type", "yarn"}, {"factor", 4.0}}), Code::kUnimplemented,
                "rope_scaling.rope_type", "yarn");
  ExpectRefused(with({{"type", "dynamic"}, {"factor", 4.0}}), Code::kUnimplemented,
                "rope_scaling.type", "dynamic");
  ExpectRefused(with({{"rope_type", "linear"}}), Code::kInvalidArgument, "rope_scaling.factor");
  ExpectRefused(with({{"rope_type", "linear"}, {"factor", 0.0}}), Code::kInvalidArgument,
                "rope_scaling.factor");
  ExpectRefused(with({{"rope_type", "llama3"},
                      {"factor", 8.0},
                      {"low_freq_factor", 4.0},
                      {"high_freq_factor", 4.0},
                      {"original_max_position_embeddings", 8192}}),
                Code::kInvalidArgument, "rope_scaling.high_freq_factor");
  ExpectRefused(with("linear"), Code::kInvalidArgument, "rope_scaling");
  json config = Llama();
  config["partial_rotary_factor"] = 0.5;
  ExpectRefused(config, Code::kUnimplemented, "partial_rotary_factor");
  config = Llama();
  config["rope_parameters"] = {{"full_attention", {{"rope_theta", 1.0}}}};
  ExpectRefused(config, Code::kInvalidArgument, "rope_parameters.rope_theta");
}

TEST_F(ModelConfigTest, Mistral) {
  json config = OfFamily("MistralForCausalLM", "mistral");
  config["sliding_window"] = nullptr;
  EXPECT_EQ(Shape(config).sliding_window, 0);
  config["sliding_window"] = 4096;
  EXPECT_EQ(Shape(config).sliding_window, 4096);
}

TEST_F(ModelConfigTest, Qwen2) {
  json config = OfFamily("Qwen2ForCausalLM", "qwen2");
  config["sliding_window"] = 128;
  config["max_window_layers"] = 0;
  ModelShape shape = Shape(config);
  EXPECT_TRUE(shape.qkv_bias);
  EXPECT_FALSE(shape.output_bias);
  EXPECT_EQ(shape.sliding_window, 0);  // use_sliding_window is absent
  config["use_sliding_window"] = true;
  EXPECT_EQ(Shape(config).sliding_window, 128);
  config["max_window_layers"] = 2;
  EXPECT_EQ(Shape(config).sliding_window, 0);
  config["max_window_layers"] = 1;
  ExpectRefused(config, absl::StatusCode::kUnimplemented, "max_window_layers");
}

TEST_F(ModelConfigTest, LayerTypes) {
  json config = OfFamily("Qwen2ForCausalLM", "qwen2");
  config["sliding_window"] = 128;
  config["use_sliding_window"] = true;
  config["layer_types"] = {"full_attention", "full_attention"};
  EXPECT_EQ(Shape(config).sliding_window, 0);
  config["layer_types"] = {"sliding_attention", "sliding_attention"};
  EXPECT_EQ(Shape(config).sliding_window, 128);
  config["layer_types"] = {"full_attention", "sliding_attention"};
  ExpectRefused(config, absl::StatusCode::kUnimplemented, "layer_types");
  config["layer_types"] = {"linear_attention", "linear_attention"};
  ExpectRefused(config, absl::StatusCode::kUnimplemented, "layer_types");
}

TEST_F(ModelConfigTest, Qwen3) {
  json config = OfFamily("Qwen3ForCausalLM", "qwen3");
  ExpectRefused(config, absl::StatusCode::kInvalidArgument, "head_dim");
  config["head_dim"] = 128;
  const ModelShape shape = Shape(config);
  EXPECT_TRUE(shape.qk_norm);
  EXPECT_FALSE(shape.qkv_bias);
  EXPECT_EQ(shape.head_dim, 128);
}

TEST_F(ModelConfigTest, UnknownThingsAreRefusedByName) {
  using Code = absl::StatusCode;
  ExpectRefused(OfFamily("GemmaForCausalLM", "gemma"), Code::kUnimplemented, "architectures",
                "GemmaForCausalLM");
  ExpectRefused(OfFamily("LlamaForCausalLM", "cohere"), Code::kUnimplemented, "model_type",
                "cohere");
  json config = Llama();
  config["hidden_act"] = "gelu";
  ExpectRefused(config, Code::kUnimplemented, "hidden_act", "gelu");
  config = Llama();
  config["quantization_config"] = {{"quant_method", "gptq"}};
  ExpectRefused(config, Code::kUnimplemented, "quantization_config");
  config = Llama();
  config["architectures"] = {"LlamaForCausalLM", "LlamaForCausalLM"};
  ExpectRefused(config, Code::kInvalidArgument, "architectures");
  config.erase("architectures");
  ExpectRefused(config, Code::kInvalidArgument, "architectures");
}

TEST_F(ModelConfigTest, EveryRequiredKeyIsNamedWhenMissing) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "vocab_size", "max_position_embeddings", "rms_norm_eps"}) {
    json config = Llama();
    config.erase(key);
    ExpectRefused(config, absl::StatusCode::kInvalidArgument, key, "is missing");
  }
}

TEST_F(ModelConfigTest, ValuesOutOfRange) {
  for (const char* key :
       {"hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads",
        "num_key_value_heads", "head_dim", "vocab_size", "max_position_embeddings"}) {
    for (const json& value : {json(0), json(-1), json(1.5), json("64"), json(uint64_t{1} << 40),
                              json(~uint64_t{0}), json(1e300), json::array({1}), json(true)}) {
      ExpectInvalid(key, value);
    }
  }
  for (const json& value : {json(0), json(-1e-5), json(1), json("1e-5")}) {
    ExpectInvalid("rms_norm_eps", value);
  }
  ExpectInvalid("rope_theta", 0.5);
  ExpectInvalid("rope_theta", -1);
  ExpectInvalid("tie_word_embeddings", 1);
  ExpectInvalid("head_dim", 15);
  ExpectInvalid("head_dim", 514);
  ExpectInvalid("bos_token_id", 300);
  ExpectInvalid("eos_token_id", -1);
  ExpectInvalid("eos_token_id", json::array({2, 300}));
  ExpectInvalid("eos_token_id", json::array({2, "3"}));
  ExpectInvalid("eos_token_id", json(std::vector<int>(65, 2)));
}

TEST_F(ModelConfigTest, HeadsMustDivide) {
  json config = Llama();
  config["num_attention_heads"] = 8;
  config["num_key_value_heads"] = 3;
  ExpectRefused(config, absl::StatusCode::kInvalidArgument, "num_attention_heads");
  config["num_attention_heads"] = 9;
  ExpectRefused(config, absl::StatusCode::kInvalidArgument, "head_dim");  // 64 / 9
  config["head_dim"] = 16;
  EXPECT_EQ(Shape(config).group_size(), 3);
}

TEST_F(ModelConfigTest, GenerationConfigEndsWin) {
  folder_.Write("generation_config.json", R"({"eos_token_id":[7,8],"temperature":0.6})");
  EXPECT_THAT(Shape(Llama()).eos, ElementsAre(7, 8));
  folder_.Write("generation_config.json", R"({"temperature":0.6})");
  EXPECT_THAT(Shape(Llama()).eos, ElementsAre(2));
  folder_.Write("generation_config.json", R"({"eos_token_id":300})");
  const absl::Status status = Read(Llama()).status();
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("generation_config.json"), HasSubstr("eos_token_id")));
}

TEST_F(ModelConfigTest, BrokenFiles) {
  EXPECT_TRUE(absl::IsNotFound(ReadModelConfig(folder_.path()).status()));
  const std::string whole = Llama().dump();
  for (size_t size = 0; size < whole.size(); ++size) {
    folder_.Write("config.json", whole.substr(0, size));
    ASSERT_TRUE(absl::IsDataLoss(ReadModelConfig(folder_.path()).status())) << size;
  }
  folder_.Write("config.json", "[]");
  EXPECT_TRUE(absl::IsDataLoss(ReadModelConfig(folder_.path()).status()));
  folder_.Write("config.json", whole.substr(0, whole.size() - 1) + ",\"vocab_size\":5}");
  EXPECT_TRUE(absl::IsDataLoss(ReadModelConfig(folder_.path()).status()));
  folder_.Write("config.json", whole + std::string(2 << 20, ' '));
  EXPECT_TRUE(absl::IsFailedPrecondition(ReadModelConfig(folder_.path()).status()));
}

TEST_F(ModelConfigTest, SmallModels) {
  const auto llama3 = ReadModelConfig(TestModel("llama3"));
  ASSERT_TRUE(llama3.ok()) << llama3.status();
  EXPECT_EQ(llama3->rope.kind, RopeKind::kLlama3);
  EXPECT_EQ(llama3->heads * llama3->head_dim, 96);  // not hidden
  EXPECT_THAT(llama3->eos, ElementsAre(2, 5));
  const auto bias = ReadModelConfig(TestModel("llama2_bias"));
  ASSERT_TRUE(bias.ok()) << bias.status();
  EXPECT_TRUE(bias->qkv_bias && bias->output_bias && bias->mlp_bias && bias->tied_embeddings);
  EXPECT_EQ(bias->rope.kind, RopeKind::kLinear);
  const auto qwen3 = ReadModelConfig(TestModel("qwen3"));
  ASSERT_TRUE(qwen3.ok()) << qwen3.status();
  EXPECT_EQ(qwen3->rope.theta, 1000000.0);
}

}  // namespace
}  // namespace headgate
