// What LaunchAppend leaves in the pages, byte by byte: the keys and values that a later query can
// see (kvstore/visibility.h), where the tables say, and nothing else anywhere.
#include <cuda_runtime.h>

#include <algorithm>
#include <cstring>
#include <span>
#include <utility>

#include "kvstore/kv_layout.h"
#include "tests/kernel/cuda_rig.h"
#include "tests/kernel/step_rig.h"
#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/layer_call.h"
#include "worker/cuda/device/cuda_status.h"
#include "worker/cuda/pages/device_page_store.h"

namespace headgate {
namespace {

struct Shape {
  int64_t head_dim = 128;
  int64_t group = 4;
  std::vector<RowSpec> rows;
  int64_t page_tokens = 16;
};

template <typename T>
std::vector<T> FromDevice(const T* from, int64_t count) {
  std::vector<T> values(static_cast<size_t>(count));
  CudaCheck(cudaMemcpy(values.data(), from, values.size() * sizeof(T), cudaMemcpyDeviceToHost),
            "reading");
  return values;
}

class AppendRig {
 public:
  // The second layer is used: a wrong row index would write to the first's pages.
  explicit AppendRig(Shape shape)
      : shape_(std::move(shape)),
        layout_(MakeKvLayout(shape_.page_tokens, shape_.head_dim, DType::kBF16,
                             {{RowSpec{}, RowSpec{}}, shape_.rows})),
        uploads_(UploadRing::Create(1 << 22, nullptr).value()),
        store_(DevicePageStore::Create(layout_, kPages, 1 << 16, uploads_, nullptr).value()),
        pages_(CudaBuffer::Create(MemoryPlace::kDevice, layout_.page_bytes() * kPages).value()),
        expected_(static_cast<size_t>(pages_.bytes() / 2), kUntouched) {
    CudaCheck(cudaMemset(pages_.data(), 0xff, static_cast<size_t>(pages_.bytes())), "filling");
  }

  // The next chunk of every sequence as one step.
  void Step(const StepParts& parts, bool long_chunks_only = false) {
    for (const auto& [id, _] : parts) {
      if (std::find(known_.begin(), known_.end(), id) == known_.end()) {
        ASSERT_TRUE(store_->AddSequence(id).ok());
        known_.push_back(id);
      }
    }
    const TestStep next = NextStep(*store_, parts);
    ASSERT_TRUE(store_->BeginStep(next.chunks).ok());
    const StepView step = Upload(next.rows, uploads_);
    AttentionCall call =
        LayerCall(layout_, store_->tables(), pages_.data(), step, kLayer, shape_.group);
    const std::vector<uint16_t> qkv = RandomBits(step.rows * cols());
    const auto bytes = static_cast<int64_t>(qkv.size() * 2);
    const CudaBuffer on_device = CudaBuffer::Create(MemoryPlace::kDevice, bytes).value();
    CudaCheck(cudaMemcpy(on_device.data(), qkv.data(), qkv.size() * 2, cudaMemcpyHostToDevice),
              "uploading");
    call.qkv = on_device.as<const __nv_bfloat16>();
    call.long_chunks_only = long_chunks_only;
    LaunchAppend(call, nullptr);
    CudaCheck(cudaDeviceSynchronize(), "appending");
    store_->Commit();
    for (const StepSequence& sequence : next.rows.sequences) {
      if (sequence.length > 1 || !long_chunks_only) Expect(sequence, qkv);
    }
    const auto got = FromDevice(pages_.as<const uint16_t>(), pages_.bytes() / 2);
    const auto wrong = std::mismatch(got.begin(), got.end(), expected_.begin());
    EXPECT_TRUE(wrong.first == got.end())
        << "page " << (wrong.first - got.begin()) * 2 / layout_.page_bytes() << ", element "
        << (wrong.first - got.begin()) % (layout_.page_bytes() / 2) << ": " << *wrong.first
        << ", expected " << *wrong.second;
  }

  int64_t written() const { return written_; }  // (position, head) pairs

 private:
  static constexpr uint32_t kPages = 1200;
  static constexpr int64_t kLayer = 1;
  static constexpr uint16_t kUntouched = 0xffff;

  int64_t kv_heads() const { return layout_.kv_heads(kLayer); }
  int64_t cols() const { return (shape_.group + 2) * kv_heads() * shape_.head_dim; }

  std::vector<uint16_t> RandomBits(int64_t count) {
    std::vector<uint16_t> bits(static_cast<size_t>(count));
    for (uint16_t& one : bits) one = static_cast<uint16_t>(random_());
    return bits;
  }

  // Reads these entries of the tables alone: most others hold nothing yet.
  int64_t PageAt(int32_t place, int64_t head, int64_t slot) const {
    const PageTables& t = store_->tables();
    const int64_t row = place * int64_t{t.rows} + layout_.row_index(kLayer, head);
    const auto chunk = FromDevice(t.chunks + row * t.chunks_max + slot / kChunkSlots, 1)[0];
    return FromDevice(t.ids + int64_t{chunk} * kChunkSlots + slot % kChunkSlots, 1)[0];
  }

  // Writes to the host's pages what the step must write to the device's.
  void Expect(const StepSequence& sequence, const std::vector<uint16_t>& qkv) {
    const int64_t next = int64_t{sequence.position} + sequence.length, dim = shape_.head_dim;
    for (int64_t head = 0; head < kv_heads(); ++head) {
      const RowSpec& spec = layout_.row(kLayer, head);
      int64_t slot = -1, page = 0;
      for (int64_t i = 0; i < sequence.length; ++i) {
        const int64_t position = sequence.position + i;
        if (!InSinksOrWindow(spec, position, next, shape_.page_tokens)) continue;
        const int64_t now = TableSlot(spec, sequence.position, position, shape_.page_tokens);
        if (std::exchange(slot, now) != now) page = PageAt(sequence.place, head, slot);
        const int64_t from =
            (sequence.offset + i) * cols() + (shape_.group * kv_heads() + head) * dim;
        const int64_t to = page * layout_.page_bytes() / 2 + position % shape_.page_tokens * dim;
        std::copy_n(qkv.begin() + from, dim, expected_.begin() + to);
        std::copy_n(qkv.begin() + from + kv_heads() * dim, dim,
                    expected_.begin() + to + shape_.page_tokens * dim);
        ++written_;
      }
    }
  }

  const Shape shape_;
  const KvLayout layout_;
  UploadRing uploads_;
  const std::unique_ptr<DevicePageStore> store_;
  const CudaBuffer pages_;
  std::vector<uint16_t> expected_;
  std::vector<SequenceId> known_;
  std::mt19937 random_{1};
  int64_t written_ = 0;
};

constexpr RowSpec kFullRow;
constexpr RowSpec kStreaming{HeadClass::kStreaming, 64, 128};

class GpuAppendTest : public testing::Test {
 protected:
  const std::unique_ptr<Backend> gpu_ = NewCudaBackend();  // ends the program without a GPU
};

// 20 and 90 go element by element, 80 and 96 leave threads of a block out, 1 kv head to 5.
TEST_F(GpuAppendTest, HeadSizesAndKvHeads) {
  for (const int64_t head_dim : {8, 20, 64, 80, 90, 96, 128, 256}) {
    for (const size_t kv_heads : {1, 3, 5}) {
      SCOPED_TRACE(testing::Message() << head_dim << ", kv heads " << kv_heads);
      AppendRig rig(
          {.head_dim = head_dim, .group = 3, .rows = std::vector<RowSpec>(kv_heads, kFullRow)});
      rig.Step({{1, 70}});
      rig.Step({{1, 1}});
      rig.Step({{1, 33}});
      EXPECT_EQ(rig.written(), static_cast<int64_t>(104 * kv_heads));
    }
  }
}

TEST_F(GpuAppendTest, PageSizes) {
  for (const int64_t page_tokens : {1, 4, 16, 32, 64}) {
    SCOPED_TRACE(page_tokens);
    AppendRig rig({.rows = {kFullRow, kStreaming}, .page_tokens = page_tokens});
    for (const int64_t length : {37, 1, 64, 100, 31}) rig.Step({{1, length}});
  }
}

// Chunks that cross the end of the sinks, lie in the window, wrap the ring, and are longer than it.
TEST_F(GpuAppendTest, StreamingRowsThroughTheRing) {
  const RowSpec small{HeadClass::kStreaming, 16, 32}, no_sinks{HeadClass::kStreaming, 0, 16};
  for (const auto& chunks : std::vector<std::vector<int64_t>>{
           {400}, {10, 20, 5, 100, 1, 1, 64, 200}, {63, 2, 127, 129, 3, 300}}) {
    AppendRig rig({.group = 2, .rows = {small, kFullRow, kStreaming, no_sinks}});
    int64_t positions = 0;
    for (const int64_t length : chunks) {
      rig.Step({{1, length}});
      positions += length;
    }
    EXPECT_GT(rig.written(), positions);      // the full row's, and more
    EXPECT_LT(rig.written(), 4 * positions);  // but not all of the others
  }
}

// Decoding sequences among chunks: their rows are the decode kernel's, unless it does not run.
TEST_F(GpuAppendTest, AMixedBatch) {
  for (const bool long_chunks_only : {false, true}) {
    AppendRig rig({.head_dim = 96, .rows = {kFullRow, kStreaming, kFullRow}});
    rig.Step({{1, 1}, {2, 300}, {3, 33}, {4, 1}}, long_chunks_only);
    rig.Step({{4, 50}, {1, 1}, {3, 1}, {2, 200}, {5, 1}}, long_chunks_only);
    rig.Step({{5, 31}, {2, 1}, {1, 70}}, long_chunks_only);
  }
}

// No more rows than a block takes, and every number about that.
TEST_F(GpuAppendTest, FewRows) {
  AppendRig rig({.rows = {kFullRow}});
  for (const int64_t length : {1, 2, 31, 32, 33, 64, 65}) rig.Step({{1, length}, {2, 1}});
}

TEST_F(GpuAppendTest, ALongChunk) {
  AppendRig rig({.rows = {kFullRow, kStreaming}});
  rig.Step({{1, 4096 - 100}, {2, 100}});
  rig.Step({{2, 500}, {1, 77}});
}

}  // namespace
}  // namespace headgate
