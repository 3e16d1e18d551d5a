// What a worker does when its GPU fails, or has less memory than it is asked for.
#include <cuda_bf16.h>
#include <cuda_runtime.h>
#include <gtest/gtest.h>
#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include "tests/kernel/model_rig.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/device/device_buffer.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

TEST(DeviceFailureDeathTest, AKernelsFaultEndsTheProcessAtOnceWithItsCause) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");  // CUDA does not outlive a fork
  const auto fault = [] {
    spdlog::set_default_logger(spdlog::stderr_logger_mt("rank"));
    auto* nowhere = reinterpret_cast<void*>(256);
    LaunchAdd(static_cast<float*>(nowhere), static_cast<const __nv_bfloat16*>(nowhere), 1, 8,
              nullptr);
    CudaCheck(cudaDeviceSynchronize(), "a step");
  };
  EXPECT_EXIT(fault(), testing::ExitedWithCode(70),
              "cuda: a step: an illegal memory access .*; this rank ends");
}

TEST(DeviceFailureTest, ALackOfMemoryIsSaidAndLeavesTheDeviceUsable) {
  const auto huge = CudaBuffer::Create(MemoryPlace::kDevice, int64_t{1} << 50);
  EXPECT_EQ(huge.status().code(), absl::StatusCode::kResourceExhausted) << huge.status();
  EXPECT_TRUE(CudaBuffer::Create(MemoryPlace::kDevice, 256).ok());
  EXPECT_EQ(cudaDeviceSynchronize(), cudaSuccess);
}

// As much as the GPU has in all: the model and the sampler leave less.
TEST(DeviceFailureTest, PagesThatDoNotFitBecomeFewerAtTheStart) {
  size_t free = 0, total = 0;
  ASSERT_EQ(cudaMemGetInfo(&free, &total), cudaSuccess);
  WorkerOptions options = GpuOptions(TestModel("qwen3_64"), 0);
  options.pages = {};
  options.pages.memory_bytes = static_cast<int64_t>(total);
  const auto rig = GroupRig::Create(options);
  ASSERT_TRUE(rig.ok()) << rig.status();
  StepPlan plan;
  plan.starts.push_back({1, {}, 0, 3});
  plan.chunks.push_back({1, 0, {1, 2, 3}, true, {}});
  const auto results = (*rig)->Step(plan);
  ASSERT_TRUE(results.ok()) << results.status();
  const PageStats& pages = results->front().pages;
  const auto bytes = static_cast<double>(pages.total) * static_cast<double>(pages.page_bytes);
  EXPECT_LT(bytes, 0.98 * static_cast<double>(total));
  EXPECT_GT(bytes, 0.50 * static_cast<double>(total));
}

}  // namespace
}  // namespace headgate
