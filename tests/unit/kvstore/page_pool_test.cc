#include "kvstore/page_pool.h"

#include <array>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace headgate {
namespace {

TEST(PagePool, GivesEachPageOnce) {
  PagePool pool(5);
  std::vector<PageId> pages(5);
  ASSERT_TRUE(pool.Allocate(pages));
  EXPECT_EQ(std::set<PageId>(pages.begin(), pages.end()), (std::set<PageId>{0, 1, 2, 3, 4}));
  EXPECT_EQ(pool.free(), 0u);
  EXPECT_EQ(pool.referenced(), 5u);
}

TEST(PagePool, AllocatesAllOrNothing) {
  PagePool pool(3);
  std::array<PageId, 2> two;
  ASSERT_TRUE(pool.Allocate(two));
  std::array<PageId, 2> more = {77, 77};
  EXPECT_FALSE(pool.Allocate(more));
  EXPECT_EQ(pool.free(), 1u);
  EXPECT_EQ(more[0], 77u);
  std::array<PageId, 1> one;
  EXPECT_TRUE(pool.Allocate(one));
  EXPECT_TRUE(pool.Allocate({}));
}

TEST(PagePool, APageReturnsWithItsLastHolder) {
  PagePool pool(1);
  std::array<PageId, 1> page;
  ASSERT_TRUE(pool.Allocate(page));
  pool.Retain(page[0]);
  EXPECT_EQ(pool.references(page[0]), 2u);
  EXPECT_FALSE(pool.Release(page[0]));
  EXPECT_EQ(pool.free(), 0u);
  EXPECT_TRUE(pool.Release(page[0]));
  EXPECT_EQ(pool.free(), 1u);
}

TEST(PagePoolDeathTest, RefusesDoubleFree) {
  PagePool pool(2);
  std::array<PageId, 1> page;
  ASSERT_TRUE(pool.Allocate(page));
  pool.Release(page[0]);
  EXPECT_DEATH(pool.Release(page[0]), "freed twice");
  EXPECT_DEATH(pool.Retain(page[0]), "is free");
  EXPECT_DEATH(pool.Release(2), "references_.size");
}

}  // namespace
}  // namespace headgate
