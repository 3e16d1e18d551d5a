// Attention over pages: against the definition, and its promises about chunks, batches and pages.
#include <numeric>

#include "tests/unit/cpu/attention_rig.h"

namespace headgate {
namespace {

constexpr RowSpec kFullRow;
constexpr RowSpec kStreamingRow{HeadClass::kStreaming, 16, 32};
constexpr RowSpec kNoSinkRow{HeadClass::kStreaming, 0, 16};

class AttentionTest : public testing::TestWithParam<IsaLevel> {};
INSTANTIATE_TEST_SUITE_P(Levels, AttentionTest, testing::ValuesIn(LevelsHere()), LevelName);

// kAmx keeps 16 bits of queries and probabilities when pages are bf16.
double ErrorOf(IsaLevel level, DType dtype) {
  return level == IsaLevel::kAmx && dtype == DType::kBF16 ? 3e-5 : 4e-6;
}

void ExpectNear(const std::vector<float>& out, const std::vector<double>& expected, double error) {
  ASSERT_EQ(out.size(), expected.size());
  for (size_t i = 0; i < out.size(); ++i) {
    if (!(std::abs(out[i] - expected[i]) <= error)) {
      FAIL() << "value " << i << ": " << out[i] << " instead of " << expected[i];
    }
  }
}

TEST_P(AttentionTest, AgreesWithTheDefinition) {
  // group sizes 1, 3, 4, 8 and head sizes 8, 64, 96, 128; lengths around pages and blocks
  const AttentionCase cases[] = {
      {.head_dim = 64, .heads = 9, .rows = {kFullRow, kStreamingRow, kNoSinkRow}},
      {.head_dim = 8, .heads = 8, .rows = {kFullRow, kStreamingRow}},
      {.head_dim = 96, .heads = 2, .rows = {kFullRow, kFullRow}, .page_tokens = 4},
      {.head_dim = 128, .heads = 8, .rows = {kStreamingRow}},
      {.head_dim = 20, .heads = 1, .rows = {kFullRow}},
  };
  for (AttentionCase spec : cases) {
    for (DType dtype : {DType::kF32, DType::kBF16}) {
      spec.dtype = dtype;
      AttentionRig rig(spec, GetParam());
      SequenceId id = 1;
      for (int64_t length : {1, 15, 16, 17, 63, 65, 150}) {
        const auto qkv = rig.RandomQkv(length, static_cast<uint32_t>(length));
        const auto expected = rig.Reference(qkv);
        ExpectNear(rig.RunAlone(id, qkv, {length}), expected, ErrorOf(GetParam(), dtype));
        ASSERT_TRUE(rig.store().Release(id++).ok());
        if (length < 4) continue;
        ExpectNear(rig.RunAlone(id, qkv, {length - 3, 1, 2}), expected, ErrorOf(GetParam(), dtype));
        ASSERT_TRUE(rig.store().Release(id++).ok());
      }
    }
  }
}

TEST_P(AttentionTest, SameBitsForEveryChunking) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const AttentionCase spec{
        .head_dim = 64, .heads = 9, .rows = {kFullRow, kStreamingRow, kNoSinkRow}, .dtype = dtype};
    AttentionRig rig(spec, GetParam());
    AttentionRig one_thread(spec, GetParam(), 1);
    constexpr int64_t kLength = 145;
    const auto qkv = rig.RandomQkv(kLength, 1);
    const auto whole = rig.RunAlone(1, qkv, {kLength});
    EXPECT_TRUE(SameBits(whole, one_thread.RunAlone(1, qkv, {kLength})));
    EXPECT_TRUE(SameBits(whole, rig.RunAlone(2, qkv, std::vector<int64_t>(kLength, 1))));
    EXPECT_TRUE(SameBits(whole, rig.RunAlone(3, qkv, {100, 1, 1, 43})));
    EXPECT_TRUE(SameBits(whole, rig.RunAlone(4, qkv, {7, 64, 17, 57})));
  }
}

TEST_P(AttentionTest, SameBitsInEveryBatch) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const AttentionCase spec{
        .head_dim = 64, .heads = 6, .rows = {kFullRow, kStreamingRow}, .dtype = dtype};
    AttentionRig alone(spec, GetParam()), together(spec, GetParam(), 3);
    std::map<SequenceId, std::vector<float>> history, outputs;
    for (SequenceId id : {1, 2, 3}) {
      history[id] = alone.RandomQkv(90, static_cast<uint32_t>(id));
      together.Start(id);
    }
    together.Step({{1, 70}, {2, 1}, {3, 33}}, history, outputs);
    together.Step({{3, 1}, {1, 1}, {2, 60}}, history, outputs);
    together.Step({{2, 29}, {1, 19}, {3, 56}}, history, outputs);
    for (SequenceId id : {1, 2, 3}) {
      EXPECT_TRUE(SameBits(outputs[id], alone.RunAlone(id, history[id], {90}))) << id;
    }
  }
}

TEST_P(AttentionTest, LevelsBelowAmxAgreeBitByBit) {
  if (GetParam() == IsaLevel::kAmx) GTEST_SKIP() << "multiplies bf16 pages with tiles";
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const AttentionCase spec{.head_dim = 96, .heads = 4, .rows = {kFullRow}, .dtype = dtype};
    AttentionRig rig(spec, GetParam()), scalar(spec, IsaLevel::kScalar);
    const auto qkv = rig.RandomQkv(80, 1);
    EXPECT_TRUE(SameBits(rig.RunAlone(1, qkv, {50, 30}), scalar.RunAlone(1, qkv, {80})));
  }
}

TEST_P(AttentionTest, NanStaysInItsSequence) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const AttentionCase spec{
        .head_dim = 64, .heads = 6, .rows = {kFullRow, kStreamingRow}, .dtype = dtype};
    AttentionRig rig(spec, GetParam(), 2, 64);
    std::map<SequenceId, std::vector<float>> history, outputs;
    for (SequenceId id : {1, 2}) {
      history[id] = rig.RandomQkv(60, static_cast<uint32_t>(id));
      rig.Start(id);
    }
    for (float& value : history[1]) value = NAN;
    rig.Step({{1, 40}, {2, 40}}, history, outputs);
    rig.Step({{1, 20}, {2, 20}}, history, outputs);
    ExpectNear(outputs[2], rig.Reference(history[2]), ErrorOf(GetParam(), dtype));
    EXPECT_TRUE(std::isnan(outputs[1][0]));
    // The pages that held NaN serve another sequence: slots it has not written do not matter.
    ASSERT_TRUE(rig.store().Release(1).ok());
    const auto next = rig.RandomQkv(70, 9);
    ExpectNear(rig.RunAlone(3, next, {3, 30, 1, 36}), rig.Reference(next),
               ErrorOf(GetParam(), dtype));
  }
}

TEST_P(AttentionTest, LargeScoresStayFinite) {
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    AttentionRig rig({.head_dim = 64, .heads = 1, .rows = {kFullRow}, .dtype = dtype}, GetParam());
    auto qkv = rig.RandomQkv(70, 4);
    for (float& value : qkv) value *= 20.0f;
    ExpectNear(rig.RunAlone(1, qkv, {70}), rig.Reference(qkv), 4e-3);
  }
}

TEST_P(AttentionTest, KeptListIsSeenAfterTheWindow) {
  // A gated row that keeps everything sees, token by token, what a full row sees.
  const RowSpec gated{HeadClass::kGated, 16, 32};
  for (DType dtype : {DType::kF32, DType::kBF16}) {
    const AttentionCase spec{.head_dim = 64, .heads = 2, .rows = {gated}, .dtype = dtype};
    AttentionRig rig(spec, GetParam());
    AttentionRig full({.head_dim = 64, .heads = 2, .rows = {kFullRow}, .dtype = dtype}, GetParam());
    const auto qkv = rig.RandomQkv(170, 1);
    std::vector<int64_t> chunks(123, 1);
    chunks[0] = 48;
    const auto out = rig.RunAlone(1, qkv, chunks);
    EXPECT_EQ(rig.store().Row(1, 1, 0).kept_tokens, 112);
    ExpectNear(out, full.Reference(qkv), ErrorOf(GetParam(), dtype));
  }
}

TEST(AttentionPagesTest, RefusesUnfitLayouts) {
  const auto backend = NewBackend(IsaLevel::kScalar);
  EXPECT_EQ(
      backend->CreatePages(MakeKvLayout(16, 64, DType::kF16, {{kFullRow}}), 4, 64).status().code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(backend->CreatePages(MakeKvLayout(16, 2048, DType::kF32, {{kFullRow}}), 4, 64)
                .status()
                .code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(backend->CreatePages(MakeKvLayout(16, 64, DType::kF32, {{kFullRow}}), 4, 64).ok());
}

}  // namespace
}  // namespace headgate
