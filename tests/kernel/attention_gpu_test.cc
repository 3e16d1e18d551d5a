// Attention over pages on the GPU against the definition in double precision: classes of rows, head
// and group sizes, lengths at page edges, chunks and batches.
#include <map>

#include "kvstore/kv_layout.h"
#include "tests/kernel/cuda_rig.h"

namespace headgate {
namespace {

constexpr RowSpec kFullRow;
constexpr double kError = 6e-3;

struct Shape {
  int64_t head_dim = 64;
  int64_t heads = 4;
  std::vector<RowSpec> rows = {kFullRow};
  int64_t page_tokens = 16;
};

class Rig {
 public:
  explicit Rig(Shape shape, uint32_t pages = 2000) : shape_(std::move(shape)) {
    // The second layer is used: a wrong row index would read the first.
    const KvLayout layout =
        MakeKvLayout(shape_.page_tokens, shape_.head_dim, DType::kBF16, {shape_.rows, shape_.rows});
    store_ = gpu_->CreatePages(layout, pages, 4096).value();
  }
  int64_t kv_heads() const { return static_cast<int64_t>(shape_.rows.size()); }
  int64_t cols() const { return (shape_.heads + 2 * kv_heads()) * shape_.head_dim; }
  int64_t out_cols() const { return shape_.heads * shape_.head_dim; }
  PageStore& store() { return *store_; }

  std::vector<float> RandomQkv(int64_t positions, uint32_t seed) const {
    return Rounded(RandomFloats(static_cast<size_t>(positions * cols()), seed));
  }

  // The next `length` positions of every sequence as one batch; outputs join `out`.
  void Step(const std::vector<std::pair<SequenceId, int64_t>>& parts,
            std::map<SequenceId, std::vector<float>>& history,
            std::map<SequenceId, std::vector<float>>& out) {
    Batch batch;
    std::vector<Chunk> chunks;
    std::vector<float> qkv;
    for (const auto& [id, length] : parts) {
      const int64_t position = store_->Length(id);
      batch.sequences.push_back({id, position, batch.rows(), length});
      chunks.push_back(
          {id, position, std::vector<TokenId>(static_cast<size_t>(length)), false, {}});
      const float* from = history[id].data() + position * cols();
      qkv.insert(qkv.end(), from, from + length * cols());
      for (int64_t i = 0; i < length; ++i) {
        batch.tokens.push_back(0);
        batch.positions.push_back(static_cast<int32_t>(position + i));
      }
    }
    ASSERT_TRUE(store_->BeginStep(chunks).ok());
    const int64_t rows = gpu_->BeginStep(batch, batch.rows() + 8);
    qkv.resize(static_cast<size_t>(rows * cols()), NAN);
    const Tensor in = NewTensor(*gpu_, qkv, rows, TensorUse::kOperand);
    const std::vector<float> poison(static_cast<size_t>(rows * out_cols()), NAN);
    const Tensor result = NewTensor(*gpu_, poison, rows, TensorUse::kOperand);
    gpu_->AttendAndAppend(1, in, {}, shape_.heads, result);
    store_->Commit();
    ASSERT_TRUE(store_->CheckIntegrity().ok()) << store_->CheckIntegrity();
    const auto values = Get(result);
    const float* from = values.data();
    for (const auto& [id, length] : parts) {
      out[id].insert(out[id].end(), from, from + length * out_cols());
      from += length * out_cols();
    }
  }

  std::vector<float> RunAlone(SequenceId id, const std::vector<float>& qkv,
                              const std::vector<int64_t>& chunks) {
    std::map<SequenceId, std::vector<float>> history{{id, qkv}}, out;
    EXPECT_TRUE(store_->AddSequence(id).ok());
    for (const int64_t length : chunks) Step({{id, length}}, history, out);
    return out[id];
  }

  std::vector<float> Reference(const std::vector<float>& qkv) const {
    std::vector<float> out;
    const int64_t positions = static_cast<int64_t>(qkv.size()) / cols();
    for (int64_t t = 0; t < positions; ++t) {
      for (int64_t head = 0; head < shape_.heads; ++head) AppendHead(qkv, t, head, out);
    }
    return out;
  }

 private:
  void AppendHead(const std::vector<float>& qkv, int64_t t, int64_t head,
                  std::vector<float>& out) const {
    const int64_t dim = shape_.head_dim, kv = head / (shape_.heads / kv_heads());
    const float* q = qkv.data() + t * cols() + head * dim;
    std::vector<double> sum(static_cast<size_t>(dim), 0.0), scores;
    double top = -INFINITY, weight = 0.0;
    for (int64_t i = 0; i <= t; ++i) {
      double score = -INFINITY;
      if (InSinksOrWindow(shape_.rows[static_cast<size_t>(kv)], i, t, shape_.page_tokens)) {
        const float* k = qkv.data() + i * cols() + (shape_.heads + kv) * dim;
        score = 0.0;
        for (int64_t d = 0; d < dim; ++d) score += static_cast<double>(q[d]) * k[d];
        score /= std::sqrt(static_cast<double>(dim));
      }
      scores.push_back(score);
      top = std::max(top, score);
    }
    for (int64_t i = 0; i <= t; ++i) {
      const double p = std::exp(scores[static_cast<size_t>(i)] - top);
      weight += p;
      const float* v = qkv.data() + i * cols() + (shape_.heads + kv_heads() + kv) * dim;
      for (int64_t d = 0; d < dim; ++d) sum[static_cast<size_t>(d)] += p * v[d];
    }
    for (const double value : sum) out.push_back(static_cast<float>(value / weight));
  }

  const Shape shape_;
  std::unique_ptr<Backend> gpu_ = NewCudaBackend();
  std::unique_ptr<PageStore> store_;
};

TEST(GpuAttentionTest, HeadAndGroupSizes) {
  for (const int64_t head_dim : {8, 64, 96, 128}) {
    for (const int64_t group : {1, 3, 4, 8, 16, 17}) {
      Rig rig({.head_dim = head_dim, .heads = 2 * group, .rows = {kFullRow, kFullRow}});
      const auto qkv = rig.RandomQkv(70, static_cast<uint32_t>(head_dim + group));
      ExpectClose(rig.RunAlone(1, qkv, {33, 1, 1, 35}), rig.Reference(qkv), kError);
    }
  }
}

TEST(GpuAttentionTest, LengthsAtPageEdges) {
  for (const int64_t page_tokens : {16, 32, 64}) {
    for (const int64_t length : {int64_t{1}, page_tokens - 1, page_tokens, page_tokens + 1,
                                 4 * page_tokens, 4 * page_tokens + 1}) {
      Rig rig({.rows = {kFullRow}, .page_tokens = page_tokens});
      const auto qkv = rig.RandomQkv(length + 2, static_cast<uint32_t>(length));
      ExpectClose(rig.RunAlone(1, qkv, {length, 1, 1}), rig.Reference(qkv), kError);
    }
  }
}

TEST(GpuAttentionTest, StreamingRowsSeeSinksAndWindow) {
  const RowSpec streaming{HeadClass::kStreaming, 16, 32};
  for (const auto& chunks : std::vector<std::vector<int64_t>>{
           {200}, {1, 199}, {100, 100}, {47, 1, 1, 1, 150}, std::vector<int64_t>(200, 1)}) {
    Rig rig({.heads = 4, .rows = {streaming, kFullRow}});
    const auto qkv = rig.RandomQkv(200, 5);
    ExpectClose(rig.RunAlone(1, qkv, chunks), rig.Reference(qkv), kError);
    // 13 pages of the full rows, 1 + 2 + 1 of the streaming ones; two layers.
    EXPECT_EQ(rig.store().PagesHeld(1), 2u * (13 + 4));
    EXPECT_TRUE(rig.store().Release(1).ok());
    EXPECT_EQ(rig.store().Stats().free, rig.store().Stats().total);
    EXPECT_TRUE(rig.store().CheckIntegrity().ok()) << rig.store().CheckIntegrity();
  }
}

// Up to rounding: a tile of keys begins where the chunk does, and chunks of one position have a
// kernel of their own.
TEST(GpuAttentionTest, ChunksDoNotMatter) {
  const RowSpec streaming{HeadClass::kStreaming, 16, 64};
  Rig rig({.head_dim = 128, .heads = 8, .rows = {kFullRow, streaming}});
  const auto qkv = rig.RandomQkv(333, 9);
  const auto whole = rig.RunAlone(1, qkv, {333});
  EXPECT_EQ(whole, rig.RunAlone(4, qkv, {333}));
  ExpectClose(rig.RunAlone(2, qkv, {5, 64, 2, 200, 62}), whole, kError);
  ExpectClose(rig.RunAlone(3, qkv, {5, 64, 1, 1, 200, 62}), whole, kError);
}

// To the bit, but for where the rows of chunks of one position are cut.
TEST(GpuAttentionTest, BatchMatesDoNotMatter) {
  Rig rig(
      {.head_dim = 64, .heads = 9, .rows = {kFullRow, {HeadClass::kStreaming, 16, 16}, kFullRow}});
  std::map<SequenceId, std::vector<float>> history, out;
  for (SequenceId id = 1; id <= 5; ++id) {
    history[id] = rig.RandomQkv(120, static_cast<uint32_t>(id));
    ASSERT_TRUE(rig.store().AddSequence(id).ok());
  }
  rig.Step({{1, 50}, {2, 1}, {3, 17}}, history, out);
  rig.Step({{3, 1}, {1, 1}, {4, 120}, {2, 119}}, history, out);
  rig.Step({{1, 69}, {5, 120}, {3, 102}}, history, out);
  for (SequenceId id = 1; id <= 5; ++id) {
    const auto alone = rig.RunAlone(id + 10, history[id], {120});
    if (id >= 4) {
      EXPECT_EQ(out[id], alone) << "sequence " << id;
    }
    ExpectClose(out[id], alone, kError);
    ExpectClose(alone, rig.Reference(history[id]), kError);
  }
}

// A decode step of 19 sequences has 24 rows; the last five are of no sequence, their K and V of no
// page. 17 query heads a kv head are more than the decode kernel takes.
TEST(GpuAttentionTest, RowsBeyondTheBatchChangeNothing) {
  for (const int64_t group : {4, 17}) {
    Rig rig({.heads = 2 * group, .rows = {kFullRow, {HeadClass::kStreaming, 16, 16}}});
    std::map<SequenceId, std::vector<float>> history, out;
    std::vector<std::pair<SequenceId, int64_t>> prompts, decodes;
    for (SequenceId id = 0; id < 19; ++id) {
      history[id] = rig.RandomQkv(64, static_cast<uint32_t>(id));
      ASSERT_TRUE(rig.store().AddSequence(id).ok());
      prompts.push_back({id, 3 * static_cast<int64_t>(id) + 2});
      decodes.push_back({id, 1});
    }
    rig.Step(prompts, history, out);
    for (int i = 0; i < 4; ++i) rig.Step(decodes, history, out);
    for (SequenceId id = 0; id < 19; ++id) {
      auto expected = rig.Reference(history[id]);
      expected.resize(out[id].size());
      ExpectClose(out[id], expected, kError);
    }
  }
}

TEST(GpuAttentionTest, ALongRowUsesSeveralChunksOfItsTable) {
  Rig rig({.head_dim = 8, .heads = 1, .rows = {kFullRow}, .page_tokens = 4});
  const auto qkv = rig.RandomQkv(2100, 3);  // 525 pages: three chunks
  ExpectClose(rig.RunAlone(1, qkv, {2000, 99, 1}), rig.Reference(qkv), kError);
}

}  // namespace
}  // namespace headgate
