// Pieces of matrices read block by block, as a device reads them.
#include "worker/model/weight_source.h"

#include <gtest/gtest.h>

#include "tests/unit/worker/group_rig.h"

namespace headgate {
namespace {

constexpr char kUp[] = "model.layers.0.mlp.up_proj.weight";
constexpr char kGate[] = "model.layers.0.mlp.gate_proj.weight";

std::vector<std::byte> Whole(const Checkpoint& checkpoint, const std::string& name) {
  const auto read = checkpoint.Read(name);
  EXPECT_TRUE(read.ok()) << read.status();
  return {read->bytes().begin(), read->bytes().end()};
}

// All rows, `block` at a time.
std::vector<std::byte> ReadAll(const RowSource& source, int64_t block) {
  std::vector<std::byte> all(static_cast<size_t>(source.rows() * source.row_bytes()));
  for (int64_t row = 0; row < source.rows(); row += block) {
    const int64_t count = std::min(block, source.rows() - row);
    const auto out = std::span(all).subspan(static_cast<size_t>(row * source.row_bytes()),
                                            static_cast<size_t>(count * source.row_bytes()));
    EXPECT_TRUE(source.Read(row, count, out).ok());
  }
  return all;
}

TEST(WeightSourceTest, StackedRowsInBlocksOfAnySize) {
  const auto checkpoint = Checkpoint::Open(TestModel("stories260k"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::vector<std::byte> up = Whole(*checkpoint, kUp), gate = Whole(*checkpoint, kGate);
  StackedRows stacked(*checkpoint);
  // Neighbours, a gap, and another tensor.
  for (const Span rows : {Span{0, 7}, {7, 30}, {40, 50}}) {
    ASSERT_TRUE(stacked.Append(kUp, rows).ok());
  }
  ASSERT_TRUE(stacked.Append(kGate, {3, 5}).ok());
  ASSERT_EQ(stacked.rows(), 42);
  const auto row = static_cast<std::ptrdiff_t>(stacked.row_bytes());
  std::vector<std::byte> expected(up.begin(), up.begin() + 30 * row);
  expected.insert(expected.end(), up.begin() + 40 * row, up.begin() + 50 * row);
  expected.insert(expected.end(), gate.begin() + 3 * row, gate.begin() + 5 * row);
  for (const int64_t block : {1, 4, 8, 42, 100}) EXPECT_EQ(ReadAll(stacked, block), expected);
}

TEST(WeightSourceTest, PickedColumnsInBlocksOfAnySize) {
  const auto checkpoint = Checkpoint::Open(TestModel("stories260k"));
  ASSERT_TRUE(checkpoint.ok()) << checkpoint.status();
  const std::vector<std::byte> up = Whole(*checkpoint, kUp);
  constexpr std::ptrdiff_t kRow = 256;  // bytes: 64 fp32 columns
  const std::vector<std::vector<Span>> picks = {
      {{0, 64}}, {{0, 16}, {16, 64}}, {{16, 64}, {0, 16}}, {{8, 24}, {40, 41}}, {{5, 5}}};
  for (const std::vector<Span>& spans : picks) {
    const auto picked = PickedColumns::Create(*checkpoint, kUp, spans);
    ASSERT_TRUE(picked.ok()) << picked.status();
    std::vector<std::byte> expected;
    for (int64_t row = 0; row < picked->rows(); ++row) {
      for (const Span& span : spans) {
        expected.insert(expected.end(), up.begin() + row * kRow + span.begin * 4,
                        up.begin() + row * kRow + span.end * 4);
      }
    }
    for (const int64_t block : {1, 50, 172}) EXPECT_EQ(ReadAll(*picked, block), expected);
  }
}

TEST(WeightSourceTest, MissingTensorsAreNamed) {
  const auto checkpoint = Checkpoint::Open(TestModel("stories260k"));
  ASSERT_TRUE(checkpoint.ok());
  StackedRows stacked(*checkpoint);
  EXPECT_EQ(stacked.Append("nothing", {0, 1}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(PickedColumns::Create(*checkpoint, "nothing", {}).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace headgate
