// Every item exactly once, from every pool size; many short loops; idle sleep and wake.
#include "worker/cpu/thread_pool.h"

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "gtest/gtest.h"

namespace headgate {
namespace {

TEST(ThreadPoolTest, EveryItemOnce) {
  for (int threads : {1, 2, 5}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int64_t items : {0, 1, 2, 7, 1000}) {
      std::vector<int> seen(static_cast<size_t>(items), 0);  // plain: the pool orders the accesses
      pool.Run(items, [&](int64_t item, int thread) {
        EXPECT_TRUE(thread >= 0 && thread < threads);
        ++seen[static_cast<size_t>(item)];
      });
      EXPECT_EQ(std::accumulate(seen.begin(), seen.end(), 0), items);
      for (int count : seen) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPoolTest, ManyShortLoopsSeeEachOther) {
  ThreadPool pool(4);
  std::vector<int64_t> values(16, 0);
  for (int round = 0; round < 20000; ++round) {
    pool.Run(16, [&](int64_t item, int) { ++values[static_cast<size_t>(item)]; });
  }
  for (int64_t value : values) EXPECT_EQ(value, 20000);
}

TEST(ThreadPoolTest, SleepingThreadsWake) {
  ThreadPool pool(3);
  for (int round = 0; round < 5; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // far beyond the spin
    std::atomic<int> inside{0};
    // Ends only if three threads run items at once.
    pool.Run(3, [&](int64_t, int) {
      inside.fetch_add(1);
      while (inside.load() < 3) std::this_thread::yield();
    });
    EXPECT_EQ(inside.load(), 3);
  }
}

TEST(ThreadPoolTest, PoolsSharingCoresDoNotStall) {
  // More threads than cores: every loop still ends soon, because unscheduled threads hold nothing.
  std::vector<std::thread> owners;
  for (int owner = 0; owner < 3; ++owner) {
    owners.emplace_back([] {
      ThreadPool pool(4);
      std::atomic<int64_t> sum{0};
      for (int round = 0; round < 500; ++round) {
        pool.Run(8, [&](int64_t item, int) { sum.fetch_add(item); });
      }
      EXPECT_EQ(sum.load(), 500 * 28);
    });
  }
  for (std::thread& owner : owners) owner.join();
}

}  // namespace
}  // namespace headgate
