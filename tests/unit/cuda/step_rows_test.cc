#include "worker/cuda/step_rows.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace headgate {
namespace {

using testing::ElementsAre;

int32_t PlaceOf(SequenceId sequence) { return static_cast<int32_t>(sequence) + 100; }

TEST(StepRowsTest, RoundedRowsServeAndAreFew) {
  std::set<int64_t> all;
  for (int64_t rows = 1; rows <= 8192; ++rows) {
    const int64_t rounded = RoundedRows(rows);
    all.insert(rounded);
    EXPECT_GE(rounded, rows);
    EXPECT_LE(3 * rounded, 4 * rows + 4);
    EXPECT_EQ(RoundedRows(rounded), rounded);
  }
  EXPECT_EQ(all.size(), 126u);
  EXPECT_EQ(RoundedRows(16), 16);
  EXPECT_EQ(RoundedRows(17), 24);
}

TEST(StepRowsTest, RowsKnowTheirSequences) {
  const Batch batch{{7, 8, 9, kLastSampled}, {0, 1, 2, 40}, {{1, 0, 0, 3}, {2, 40, 3, 1}}, {2, 3}};
  EXPECT_FALSE(batch.decodes_only());
  const StepRows step = MakeStepRows(batch, 4, PlaceOf);
  EXPECT_EQ(step.tokens, batch.tokens);
  EXPECT_EQ(step.positions, batch.positions);
  EXPECT_THAT(step.sequence_of, ElementsAre(0, 0, 0, 1));
  ASSERT_EQ(step.sequences.size(), 2u);
  EXPECT_EQ(step.sequences[1].place, 102);
  EXPECT_EQ(step.sequences[1].position, 40);
  EXPECT_EQ(step.sequences[1].offset, 3);
  EXPECT_EQ(step.sequences[1].length, 1);
}

TEST(StepRowsTest, RowsBeyondTheBatchBelongToSequencesWithoutTokens) {
  const Batch batch{{kLastSampled, kLastSampled}, {5, 40}, {{1, 5, 0, 1}, {2, 40, 1, 1}}, {0, 1}};
  EXPECT_TRUE(batch.decodes_only());
  const StepRows step = MakeStepRows(batch, 4, PlaceOf);
  EXPECT_THAT(step.tokens, ElementsAre(kLastSampled, kLastSampled, 0, 0));
  EXPECT_THAT(step.positions, ElementsAre(5, 40, 0, 0));
  EXPECT_THAT(step.sequence_of, ElementsAre(0, 1, 2, 3));
  ASSERT_EQ(step.sequences.size(), 4u);
  for (int32_t row : {2, 3}) {
    EXPECT_EQ(step.sequences[static_cast<size_t>(row)].length, 0);
    EXPECT_EQ(step.sequences[static_cast<size_t>(row)].offset, row);
  }
}

}  // namespace
}  // namespace headgate
