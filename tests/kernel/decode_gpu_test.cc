// The decode kernel against the plain one (attention.h), which attention_gpu_test.cc holds against
// the definition: every row for itself, in batches that cut rows over warps and blocks in all ways.
#include <cuda_runtime.h>

#include <algorithm>
#include <bit>

#include "kvstore/kv_layout.h"
#include "tests/kernel/cuda_rig.h"
#include "tests/kernel/poison_shared.h"
#include "tests/kernel/step_rig.h"
#include "worker/cuda/attention/decode_attention.h"
#include "worker/cuda/bench/copy_bench.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/pages/device_page_store.h"
#include "worker/cuda/rows/row_ops.h"

namespace headgate {
namespace {

constexpr RowSpec kFullRow;
constexpr RowSpec kStreamingRow{HeadClass::kStreaming, 64, 128};
constexpr int64_t kLayer = 1;  // of two: a wrong index would read the other
constexpr double kError = 6e-3;
constexpr uint16_t kPoison = 0x7fc1;  // a bf16 NaN

struct Shape {
  int64_t head_dim = 64;
  int64_t group = 2;
  std::vector<RowSpec> rows = {kFullRow, kStreamingRow};
  int64_t page_tokens = 16;
};

template <typename T>
CudaBuffer ToDevice(const std::vector<T>& values) {
  const auto bytes = values.size() * sizeof(T);
  CudaBuffer buffer = CudaBuffer::Create(MemoryPlace::kDevice, static_cast<int64_t>(bytes)).value();
  CudaCheck(cudaMemcpy(buffer.data(), values.data(), bytes, cudaMemcpyHostToDevice), "upload");
  return buffer;
}

// A step in device memory.
struct DeviceStep {
  StepView view;
  CudaBuffer positions, sequence_of, sequences;
};

class Rig {
 public:
  // Sequences 0, 1, ... of these lengths, with random keys and values; NaN where nothing is
  // written.
  Rig(const Shape& shape, const std::vector<int64_t>& lengths)
      : shape_(shape),
        layout_(MakeKvLayout(shape.page_tokens, shape.head_dim, DType::kBF16,
                             {shape.rows, shape.rows})),
        uploads_(UploadRing::Create(1 << 20, nullptr).value()) {
    std::vector<float> inv_freq;
    for (int64_t i = 0; i < shape.head_dim / 2; ++i) {
      inv_freq.push_back(
          std::pow(1e4f, -2.0f * static_cast<float>(i) / static_cast<float>(shape.head_dim)));
    }
    inv_freq_ = ToDevice(inv_freq);
    int64_t pages = 16, longest = 0;
    for (const int64_t length : lengths) {
      longest = std::max(longest, length);
      for (const RowSpec& row : layout_.rows) {
        pages += WorstCasePages(row, length + 64, shape.page_tokens);
      }
    }
    const std::vector<uint16_t> nan(static_cast<size_t>(pages * layout_.page_bytes() / 2), kPoison);
    pages_ = ToDevice(nan);
    store_ = DevicePageStore::Create(layout_, static_cast<uint32_t>(pages), longest + 64, uploads_,
                                     nullptr)
                 .value();
    const auto count = static_cast<int64_t>(lengths.size());
    decode_ = DecodeAttention::Create(layout_, count, nullptr).value();
    CudaBuffer qkv = CudaBuffer::Create(MemoryPlace::kDevice, (longest + 1) * cols() * 2).value();
    for (int64_t i = 0; i < count; ++i) {
      const auto id = static_cast<SequenceId>(i);
      EXPECT_TRUE(store_->AddSequence(id).ok());
      const int64_t length = lengths[static_cast<size_t>(i)];
      if (length == 0) continue;
      LaunchFillBf16(qkv.data(), qkv.bytes(), static_cast<uint32_t>(i) * 77777777u, nullptr,
                     FillSize::kUpToTwo);
      const DeviceStep step = Begin({{id, length}});
      LaunchAppend(CallOf(step.view, qkv, nullptr), nullptr);
      store_->Commit();
      CudaCheck(cudaDeviceSynchronize(), "writing keys and values");
    }
  }

  int64_t cols() const {
    return (shape_.group + 2) * static_cast<int64_t>(shape_.rows.size()) * shape_.head_dim;
  }
  int64_t out_cols() const {
    return shape_.group * static_cast<int64_t>(shape_.rows.size()) * shape_.head_dim;
  }

  // A step of these chunks. The plain kernel's output, then the decode kernel's (twice, then from
  // queries and keys that it rotates itself), as bf16.
  struct Outputs {
    std::vector<uint16_t> plain, decode, again, rotated;
  };
  Outputs Step(const std::vector<std::pair<SequenceId, int64_t>>& parts, uint32_t seed) {
    const DeviceStep step = Begin(parts);
    std::vector<uint16_t> values;
    for (const float value :
         RandomFloats(static_cast<size_t>(step.view.rows * cols()), seed, 3.0f)) {
      values.push_back(static_cast<uint16_t>(std::bit_cast<uint32_t>(value) >> 16));
    }
    const CudaBuffer raw = ToDevice(values), qkv = ToDevice(values);
    LaunchRope(step.view, qkv.as<__nv_bfloat16>(), cols(),
               (shape_.group + 1) * static_cast<int64_t>(shape_.rows.size()), shape_.head_dim,
               inv_freq_.as<const float>(), nullptr);
    const std::vector<uint16_t> poison(static_cast<size_t>(step.view.rows * out_cols()), kPoison);
    Outputs outputs;
    CudaBuffer out = ToDevice(poison);
    auto call = CallOf(step.view, qkv, out.as<__nv_bfloat16>());
    LaunchAttend(call, nullptr);
    outputs.plain = Read(out);
    decode_->Plan(store_->tables(), step.view, shape_.group, nullptr);
    for (auto* to : {&outputs.decode, &outputs.again, &outputs.rotated}) {
      if (to == &outputs.rotated) {
        call.qkv = raw.as<const __nv_bfloat16>();
        call.inv_freq = inv_freq_.as<const float>();
        decode_->Plan(store_->tables(), step.view, shape_.group, nullptr, call.inv_freq);
      }
      CudaCheck(cudaMemcpy(out.data(), poison.data(), poison.size() * 2, cudaMemcpyHostToDevice),
                "poison");
      PoisonSharedMemory();
      decode_->Launch(call, kLayer, nullptr);
      *to = Read(out);
    }
    auto rest = CallOf(step.view, qkv, nullptr);
    rest.long_chunks_only = true;
    LaunchAppend(rest, nullptr);
    store_->Commit();
    return outputs;
  }

  // Steps of one token for all sequences, each row close to the plain kernel's.
  void ExpectDecodes(int64_t sequences, int steps) {
    std::vector<std::pair<SequenceId, int64_t>> parts;
    for (int64_t i = 0; i < sequences; ++i) parts.emplace_back(i, 1);
    for (int s = 0; s < steps; ++s) {
      const Outputs outputs = Step(parts, static_cast<uint32_t>(s + 1));
      ExpectRowsClose(outputs);
      EXPECT_EQ(outputs.decode, outputs.again) << "the same batch gave other bits";
      EXPECT_EQ(outputs.decode, outputs.rotated) << "rotated elsewhere, other bits";
    }
  }

  void ExpectRowsClose(const Outputs& outputs) const {
    const auto dim = static_cast<size_t>(shape_.head_dim);
    double worst = 0.0;
    size_t worst_row = 0;
    for (size_t row = 0; row < outputs.plain.size() / dim; ++row) {
      double error = 0.0, size = 0.0;
      for (size_t i = row * dim; i < (row + 1) * dim; ++i) {
        const double expected = Value(outputs.plain[i]);
        error += std::pow(Value(outputs.decode[i]) - expected, 2.0);
        size += expected * expected;
      }
      const double relative = std::sqrt(error / size);
      if (relative <= worst) continue;
      worst = relative;  // NaN, too
      worst_row = row;
      if (std::isnan(relative)) break;
    }
    EXPECT_LE(worst, kError) << "row " << worst_row << ", head_dim " << dim << ", group "
                             << shape_.group << ", page_tokens " << shape_.page_tokens;
  }

 private:
  static double Value(uint16_t bits) {
    return static_cast<double>(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16));
  }

  static std::vector<uint16_t> Read(const CudaBuffer& buffer) {
    std::vector<uint16_t> values(static_cast<size_t>(buffer.bytes()) / 2);
    CudaCheck(cudaDeviceSynchronize(), "attention");
    CudaCheck(cudaMemcpy(values.data(), buffer.data(), values.size() * 2, cudaMemcpyDeviceToHost),
              "read");
    return values;
  }

  DeviceStep Begin(const std::vector<std::pair<SequenceId, int64_t>>& parts) {
    const TestStep next = NextStep(*store_, parts);
    EXPECT_TRUE(store_->BeginStep(next.chunks).ok());
    DeviceStep step;
    step.positions = ToDevice(next.rows.positions);
    step.sequence_of = ToDevice(next.rows.sequence_of);
    step.sequences = ToDevice(next.rows.sequences);
    step.view.positions = step.positions.as<const int32_t>();
    step.view.sequence_of = step.sequence_of.as<const int32_t>();
    step.view.sequences = step.sequences.as<const StepSequence>();
    step.view.rows = static_cast<int32_t>(next.rows.positions.size());
    step.view.sequence_count = static_cast<int32_t>(next.rows.sequences.size());
    return step;
  }

  AttentionCall CallOf(const StepView& step, const CudaBuffer& qkv, __nv_bfloat16* out) const {
    AttentionCall call;
    call.step = step;
    call.tables = store_->tables();
    call.pages = pages_.data();
    call.page_bytes = layout_.page_bytes();
    call.row_begin = static_cast<int32_t>(layout_.row_index(kLayer, 0));
    call.kv_heads = static_cast<int32_t>(shape_.rows.size());
    call.heads = static_cast<int32_t>(shape_.group) * call.kv_heads;
    call.head_dim = static_cast<int32_t>(shape_.head_dim);
    call.qkv = qkv.as<const __nv_bfloat16>();
    call.out = out;
    return call;
  }

  const Shape shape_;
  const KvLayout layout_;
  UploadRing uploads_;
  CudaBuffer inv_freq_;
  CudaBuffer pages_;
  std::unique_ptr<DevicePageStore> store_;
  std::unique_ptr<DecodeAttention> decode_;
};

void ExpectDecodes(const Shape& shape, const std::vector<int64_t>& lengths, int steps = 2) {
  Rig(shape, lengths).ExpectDecodes(static_cast<int64_t>(lengths.size()), steps);
}

TEST(GpuDecodeTest, HeadAndGroupSizes) {
  for (const int64_t head_dim : {64, 96, 128}) {
    for (const int64_t group : {1, 2, 3, 4, 7, 8, 9, 16}) {
      ExpectDecodes({.head_dim = head_dim, .group = group}, {70, 300, 5});
    }
  }
}

TEST(GpuDecodeTest, LengthsAtPageEdges) {
  for (const int64_t page_tokens : {16, 32, 64}) {
    std::vector<int64_t> lengths;
    for (const int64_t pages : {0, 1, 2, 4, 5, 6, 8, 9, 20}) {
      for (const int64_t more : {-1, 0, 1}) {
        if (pages * page_tokens + more >= 0) lengths.push_back(pages * page_tokens + more);
      }
    }
    ExpectDecodes({.page_tokens = page_tokens}, lengths, 18);
    for (const int64_t length : lengths) ExpectDecodes({.page_tokens = page_tokens}, {length}, 1);
  }
}

TEST(GpuDecodeTest, StreamingRowsThatWrap) {
  const RowSpec no_sinks{HeadClass::kStreaming, 0, 64}, one_page{HeadClass::kStreaming, 16, 16};
  ExpectDecodes({.head_dim = 128, .group = 4, .rows = {no_sinks, one_page, kStreamingRow}},
                {15, 31, 63, 64, 65, 79, 80, 191, 192, 193, 207, 208, 1000, 5000}, 40);
}

TEST(GpuDecodeTest, ALongRowIsCutOverAllBlocks) {
  ExpectDecodes({.head_dim = 128, .group = 4, .rows = {kFullRow}}, {300'000});
  ExpectDecodes({.head_dim = 64, .group = 8, .rows = {kFullRow, kStreamingRow}}, {130'000, 3});
}

TEST(GpuDecodeTest, ManySequences) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < 200; ++i) lengths.push_back(i * 37 % 613);
  ExpectDecodes({.rows = {kFullRow, kStreamingRow, kFullRow}}, lengths, 3);
}

// Warps read rows whole, several rows, and more than 32 tiles.
TEST(GpuDecodeTest, ManyTilesForEveryWarp) {
  std::vector<int64_t> lengths(64, 1600), mixed(48, 20);
  for (size_t i = 0; i < lengths.size(); ++i) lengths[i] += static_cast<int64_t>(i * 29);
  const std::vector<RowSpec> rows(8, kFullRow);
  ExpectDecodes({.group = 1, .rows = rows}, lengths, 2);
  mixed[7] = 150'000;
  mixed[30] = 60'000;
  ExpectDecodes({.group = 4, .rows = {kFullRow, kStreamingRow, kFullRow, kFullRow}}, mixed, 2);
}

TEST(GpuDecodeTest, LeavesLongerChunksAlone) {
  const Shape shape{.head_dim = 64, .group = 2, .rows = {kFullRow, kStreamingRow}};
  Rig rig(shape, {100, 40, 7, 300});
  const auto outputs = rig.Step({{0, 1}, {1, 3}, {2, 1}, {3, 12}}, 5);
  const auto cols = static_cast<size_t>(rig.out_cols());
  Rig::Outputs decoded;
  for (size_t row = 0; row < outputs.plain.size() / cols; ++row) {
    const bool decodes = row == 0 || row == 4;
    for (size_t i = row * cols; i < (row + 1) * cols; ++i) {
      if (decodes) {
        decoded.plain.push_back(outputs.plain[i]);
        decoded.decode.push_back(outputs.decode[i]);
      } else {
        ASSERT_EQ(outputs.decode[i], kPoison) << "row " << row;
        ASSERT_EQ(outputs.rotated[i], kPoison) << "row " << row;
      }
    }
  }
  rig.ExpectRowsClose(decoded);
  rig.ExpectDecodes(4, 20);  // what the step appended is read
}

}  // namespace
}  // namespace headgate
