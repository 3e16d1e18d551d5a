#include "worker/model/shard.h"

#include <gtest/gtest.h>

namespace headgate {
namespace {

TEST(ShardTest, CutsFallOnUnits) {
  EXPECT_EQ(SplitEvenly(1536, 2, 0, 32), (Span{0, 768}));
  EXPECT_EQ(SplitEvenly(1536, 2, 1, 32), (Span{768, 1536}));
  EXPECT_EQ(SplitEvenly(172, 3, 0, 32), (Span{0, 64}));
  EXPECT_EQ(SplitEvenly(172, 3, 2, 32), (Span{128, 172}));
  EXPECT_EQ(SplitEvenly(80, 4, 3, 32), (Span{60, 80}));  // fewer units than parts
}

TEST(ShardTest, PartsCoverEverythingOnce) {
  for (const int64_t total : {1, 7, 32, 100, 172, 1536, 49152, 151936}) {
    for (const int64_t parts : {1, 2, 3, 5, 8}) {
      int64_t at = 0;
      for (int64_t part = 0; part < parts; ++part) {
        const Span span = SplitEvenly(total, parts, part, 32);
        EXPECT_EQ(span.begin, at);
        EXPECT_LE(span.size(), total / parts + 64);
        at = span.end;
      }
      EXPECT_EQ(at, total);
    }
  }
}

TEST(ShardTest, RankShardFollowsThePlacement) {
  ModelShape shape;
  shape.layers = 2;
  shape.intermediate = 96;
  shape.vocab = 300;
  HeadPlacement placement;
  placement.heads = {{{0, 2}, {1}}, {{1}, {0, 2}}};
  const RankShard shard = MakeRankShard(shape, placement, 1, 2);
  EXPECT_EQ(shard.kv_heads, (std::vector<std::vector<int64_t>>{{1}, {0, 2}}));
  EXPECT_EQ(shard.intermediate, (Span{32, 96}));
  EXPECT_EQ(shard.own_vocab(), (Span{160, 300}));
}

}  // namespace
}  // namespace headgate
