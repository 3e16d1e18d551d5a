// The prefill kernel against the plain one on the same pages and the same chunk, at lengths where
// tiles, boxes and pages end in all places; and no other sequence's numbers ever matter.
#include <cuda_runtime.h>

#include <functional>
#include <span>

#include "kvstore/kv_layout.h"
#include "tests/kernel/cuda_rig.h"
#include "tests/kernel/poison_shared.h"
#include "tests/kernel/step_rig.h"
#include "worker/cuda/attention/attention.h"
#include "worker/cuda/attention/prefill_attention.h"
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

class PrefillRig {
 public:
  explicit PrefillRig(Shape shape)
      : shape_(std::move(shape)),
        backend_(NewCudaBackend()),
        layout_(MakeKvLayout(shape_.page_tokens, shape_.head_dim, DType::kBF16, {shape_.rows})),
        uploads_(UploadRing::Create(1 << 22, nullptr).value()),
        store_(DevicePageStore::Create(layout_, kPages, 1 << 20, uploads_, nullptr).value()),
        pages_(CudaBuffer::Create(MemoryPlace::kDevice, layout_.page_bytes() * kPages).value()) {
    // What was never written is NaN: it must not be seen.
    CudaCheck(cudaMemset(pages_.data(), 0xff, static_cast<size_t>(pages_.bytes())), "poison");
  }

  int64_t kv_heads() const { return static_cast<int64_t>(shape_.rows.size()); }
  int64_t heads() const { return kv_heads() * shape_.group; }
  int64_t cols() const { return (heads() + 2 * kv_heads()) * shape_.head_dim; }

  struct StepOptions {
    SequenceId poisoned = 0;        // this sequence's rows are NaN, and it is not compared
    float spread = 1.0f;            // of queries, keys and values
    bool long_chunks_only = false;  // chunks of one row are not compared
    int runs = 1;                   // all with the same bits
    // May change a row's values: queries, keys, values of all heads.
    std::function<void(int64_t row, std::span<float> values)> change = {};
  };
  // The next chunk of every sequence as one step, by both kernels.
  void Step(const StepParts& parts) { Step(parts, {}); }
  void Step(const StepParts& parts, const StepOptions& options) {
    std::vector<float> qkv;
    std::vector<char> compared;
    int64_t tiles = 0;
    for (const auto& [id, length] : parts) {
      if (std::find(known_.begin(), known_.end(), id) == known_.end()) {
        ASSERT_TRUE(store_->AddSequence(id).ok());
        known_.push_back(id);
      }
      auto values = RandomFloats(static_cast<size_t>(length * cols()), ++seed_, options.spread);
      if (id == options.poisoned) std::fill(values.begin(), values.end(), NAN);
      for (int64_t row = 0; options.change != nullptr && row < length; ++row) {
        options.change(row, std::span(values).subspan(static_cast<size_t>(row * cols()),
                                                      static_cast<size_t>(cols())));
      }
      qkv.insert(qkv.end(), values.begin(), values.end());
      const bool skipped = options.long_chunks_only && length == 1;
      compared.insert(compared.end(), static_cast<size_t>(length),
                      id != options.poisoned && !skipped);
      if (!skipped) tiles += PrefillTiles(length, shape_.group);
    }
    const TestStep next = NextStep(*store_, parts);
    ASSERT_TRUE(store_->BeginStep(next.chunks).ok());
    AttentionCall call;
    call.step = Upload(next.rows, uploads_);
    call.tables = store_->tables();
    call.pages = pages_.data();
    call.page_bytes = layout_.page_bytes();
    call.kv_heads = static_cast<int32_t>(kv_heads());
    call.heads = static_cast<int32_t>(heads());
    call.head_dim = static_cast<int32_t>(shape_.head_dim);
    call.long_chunks_only = options.long_chunks_only;
    const int64_t rows = call.step.rows;
    const Tensor in = NewTensor(*backend_, qkv, rows, TensorUse::kOperand);
    const std::vector<float> poison(static_cast<size_t>(rows * heads() * shape_.head_dim), NAN);
    const Tensor fast = NewTensor(*backend_, poison, rows, TensorUse::kOperand);
    const Tensor plain = NewTensor(*backend_, poison, rows, TensorUse::kOperand);
    call.qkv = static_cast<const __nv_bfloat16*>(in.data);
    ASSERT_TRUE(PrefillFits(call));
    call.out = static_cast<__nv_bfloat16*>(plain.data);
    LaunchAttend(call, nullptr);
    call.out = static_cast<__nv_bfloat16*>(fast.data);
    std::vector<float> first;
    for (int run = 0; run < options.runs; ++run) {
      const auto bytes = static_cast<size_t>(rows * heads() * shape_.head_dim * 2);
      CudaCheck(cudaMemset(fast.data, 0xff, bytes), "forgetting the run before");
      PoisonSharedMemory();
      CudaCheck(LaunchPrefill(call, tiles, nullptr), "prefill");
      if (options.runs == 1) break;
      const std::vector<float> got = Get(fast);
      if (run == 0) first = got;
      ASSERT_EQ(got, first) << "run " << run;
    }
    call.long_chunks_only = false;
    LaunchAppend(call, nullptr);
    store_->Commit();
    Compare(Get(fast), Get(plain), compared);
  }

 private:
  static constexpr uint32_t kPages = 6000;

  void Compare(const std::vector<float>& fast, const std::vector<float>& plain,
               const std::vector<char>& compared) const {
    const size_t cols = fast.size() / compared.size();
    std::vector<float> a, b;
    for (size_t i = 0; i < fast.size(); ++i) {
      if (!compared[i / cols]) continue;
      a.push_back(fast[i]);
      b.push_back(plain[i]);
    }
    ExpectClose(a, b, 6e-3);
  }

  const Shape shape_;
  std::unique_ptr<Backend> backend_;
  const KvLayout layout_;
  UploadRing uploads_;
  std::unique_ptr<DevicePageStore> store_;
  CudaBuffer pages_;
  std::vector<SequenceId> known_;
  uint32_t seed_ = 0;
};

constexpr RowSpec kFullRow;
constexpr RowSpec kStreaming{HeadClass::kStreaming, 64, 256};

TEST(GpuPrefillTest, HeadAndGroupSizes) {
  for (const int64_t head_dim : {64, 96, 128}) {
    for (const int64_t group : {1, 3, 4, 8, 16}) {
      SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << ", group " << group);
      PrefillRig rig({.head_dim = head_dim, .group = group, .rows = {kFullRow, kStreaming}});
      rig.Step({{1, 150}});
      rig.Step({{1, 301}});
    }
  }
}

TEST(GpuPrefillTest, LengthsWhereTilesAndPagesEnd) {
  for (const int64_t page_tokens : {16, 64}) {
    for (const int64_t before : {0, 1, 15, 16, 17, 127, 128, 129, 500}) {
      for (const int64_t length : {1, 2, 31, 32, 33, 128, 129, 200}) {
        SCOPED_TRACE(testing::Message() << page_tokens << ", " << before << ", " << length);
        PrefillRig rig({.rows = {kFullRow}, .page_tokens = page_tokens});
        if (before > 0) rig.Step({{1, before}});
        rig.Step({{1, length}});
      }
    }
  }
}

TEST(GpuPrefillTest, StreamingRowsThroughTheRing) {
  for (const int64_t chunk : {7, 64, 100, 333, 1000}) {
    PrefillRig rig({.group = 2, .rows = {kStreaming, kFullRow, {HeadClass::kStreaming, 16, 16}}});
    for (int64_t at = 0; at < 2000; at += chunk) rig.Step({{1, chunk}});
  }
}

TEST(GpuPrefillTest, ABatchOfChunks) {
  PrefillRig rig({.group = 4, .rows = {kFullRow, kStreaming}});
  rig.Step({{1, 1}, {2, 700}, {3, 33}});
  rig.Step({{3, 129}, {1, 300}, {4, 16}, {2, 1}});
  rig.Step({{2, 255}, {4, 1000}, {1, 1}, {3, 5}});
}

// Steps at which the kernel looks for the largest score, and those between them.
TEST(GpuPrefillTest, LongContexts) {
  for (const int64_t head_dim : {64, 96, 128}) {
    PrefillRig rig({.head_dim = head_dim, .rows = {kFullRow, kStreaming}});
    rig.Step({{1, 2111}});
    rig.Step({{1, 3000}});
    rig.Step({{1, 77}, {2, 130}});
  }
}

// Scores rise between those steps by more than weights can hold: tiles are computed again.
TEST(GpuPrefillTest, ScoresFarApart) {
  for (const float spread : {4.0f, 12.0f, 40.0f}) {
    SCOPED_TRACE(spread);
    PrefillRig rig({.rows = {kFullRow, kStreaming}});
    rig.Step({{1, 1500}, {2, 40}}, {.spread = spread});
    rig.Step({{2, 700}, {1, 300}}, {.spread = spread});
  }
}

// A key of a step without a look outweighs those before it by 2^118 to 2^131, and one of a step
// with a look outweighs that: the sum of weights may be finite then while weighted values are not,
// or the factor of the second rise, below 2^-126, forgets them.
TEST(GpuPrefillTest, ScoresRiseTwice) {
  const auto with_key = [](int64_t at, float key, float value) {
    return [=](int64_t row, std::span<float> values) {
      const auto q = values.first(128), k = values.subspan(128, 128), v = values.last(128);
      std::fill(q.begin(), q.end(), 0.0f);
      std::fill(k.begin(), k.end(), 0.0f);
      q[0] = 16.0f;  // a score is 2.04 of its key's first column, as a power of 2
      if (row != at) return;
      k[0] = key;
      std::fill(v.begin(), v.end(), value);
    };
  };
  for (float key = 58.0f; key <= 64.0f; key += 0.25f) {
    for (const float second : {key + 4.0f, 98.0f}) {
      SCOPED_TRACE(testing::Message() << key << ", then " << second);
      PrefillRig rig({.group = 1, .rows = {kFullRow}});
      rig.Step({{1, 512}}, {.change = with_key(200, key, 8.0f)});
      rig.Step({{1, 88}}, {.change = with_key(0, second, 1.0f)});  // all rows see both keys
    }
  }
}

TEST(GpuPrefillTest, MoreSequencesThanAWarpHasLanes) {
  for (const bool long_chunks_only : {false, true}) {
    PrefillRig rig({.rows = {kFullRow, kStreaming}});
    for (int round = 0; round < 2; ++round) {
      std::vector<std::pair<SequenceId, int64_t>> parts;
      for (int64_t i = 0; i < 70; ++i) {
        parts.emplace_back(static_cast<SequenceId>(i + 1), i % 3 == round ? 1 : 1 + 7 * i % 65);
      }
      rig.Step(parts, {.long_chunks_only = long_chunks_only});
    }
  }
}

// As many tiles as a full step has.
TEST(GpuPrefillTest, ManyTilesGiveTheSameBitsInEveryRun) {
  PrefillRig rig({.rows = std::vector<RowSpec>(8, kFullRow)});
  rig.Step({{1, 3000}, {2, 700}}, {.runs = 100});
  rig.Step({{1, 601}, {2, 3000}}, {.runs = 100});
}

TEST(GpuPrefillTest, ANeighboursNaNStaysThere) {
  PrefillRig rig({.rows = {kFullRow, kStreaming}});
  rig.Step({{1, 37}, {2, 40}, {3, 21}}, {.poisoned = 2});
  rig.Step({{3, 5}, {1, 50}});
}

}  // namespace
}  // namespace headgate
