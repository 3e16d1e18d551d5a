// A page store, a CPU backend and the whole history of some sequences, run in any chunks; and the
// same attention in double precision, from the definition in kvstore/visibility.h.
#pragma once

#include <map>
#include <memory>
#include <set>
#include <vector>

#include "kvstore/host_page_store.h"
#include "tests/unit/cpu/cpu_test_data.h"

namespace headgate {

struct AttentionCase {
  int64_t head_dim = 64;
  int64_t heads = 3;
  std::vector<RowSpec> rows = {{}};  // one per kv head
  DType dtype = DType::kF32;
  int64_t page_tokens = 16;
};

class AttentionRig {
 public:
  AttentionRig(const AttentionCase& spec, IsaLevel level, int threads = 2, uint32_t pages = 512)
      : spec_(spec), backend_(NewBackend(level, threads)) {
    KvLayout layout =
        MakeKvLayout(spec.page_tokens, spec.head_dim, spec.dtype, {spec.rows, spec.rows});
    store_ = backend_->CreatePages(layout, pages, 1 << 20).value();
  }

  int64_t kv_heads() const { return static_cast<int64_t>(spec_.rows.size()); }
  int64_t qkv_cols() const { return (spec_.heads + 2 * kv_heads()) * spec_.head_dim; }
  int64_t out_cols() const { return spec_.heads * spec_.head_dim; }
  HostPageStore& store() { return static_cast<HostPageStore&>(*store_); }

  // q, k, v of `positions` positions of one sequence.
  std::vector<float> RandomQkv(int64_t positions, uint32_t seed) const {
    return RandomFloats(static_cast<size_t>(positions * qkv_cols()), seed);
  }

  void Start(SequenceId sequence) { ASSERT_TRUE(store_->AddSequence(sequence).ok()); }

  struct Part {
    SequenceId sequence;
    int64_t length;
  };

  // Runs the next `length` positions of every part as one batch, layer 1. Appends to the outputs.
  void Step(const std::vector<Part>& parts, std::map<SequenceId, std::vector<float>>& history,
            std::map<SequenceId, std::vector<float>>& outputs) {
    Batch batch;
    std::vector<Chunk> chunks;
    std::vector<float> qkv;
    for (const Part& part : parts) {
      const int64_t position = store_->Length(part.sequence);
      batch.sequences.push_back({part.sequence, position, batch.rows(), part.length});
      chunks.push_back({part.sequence, position, {}, false, {}});
      chunks.back().tokens.assign(static_cast<size_t>(part.length), 0);
      const float* from = history[part.sequence].data() + position * qkv_cols();
      qkv.insert(qkv.end(), from, from + part.length * qkv_cols());
      batch.tokens.resize(batch.tokens.size() + static_cast<size_t>(part.length));
    }
    batch.positions.resize(batch.tokens.size());
    ASSERT_TRUE(store_->BeginStep(chunks).ok());
    std::vector<float> out(static_cast<size_t>(batch.rows() * out_cols()));
    backend_->BeginStep(batch, batch.rows());
    backend_->AttendAndAppend(1, {qkv.data(), DType::kF32, batch.rows(), qkv_cols()}, {},
                              spec_.heads, {out.data(), DType::kF32, batch.rows(), out_cols()});
    store_->Commit();
    const float* from = out.data();
    for (const Part& part : parts) {
      auto& to = outputs[part.sequence];
      to.insert(to.end(), from, from + part.length * out_cols());
      from += part.length * out_cols();
    }
  }

  // One sequence alone in chunks of these lengths.
  std::vector<float> RunAlone(SequenceId sequence, const std::vector<float>& qkv,
                              const std::vector<int64_t>& chunks) {
    std::map<SequenceId, std::vector<float>> history{{sequence, qkv}}, outputs;
    Start(sequence);
    for (int64_t length : chunks) Step({{sequence, length}}, history, outputs);
    return outputs[sequence];
  }

  // Attention of every position by the definition; keys and values rounded like pages.
  std::vector<double> Reference(const std::vector<float>& qkv) const {
    const int64_t positions = static_cast<int64_t>(qkv.size()) / qkv_cols();
    std::vector<double> out;
    for (int64_t t = 0; t < positions; ++t) {
      for (int64_t head = 0; head < spec_.heads; ++head) {
        const auto one = ReferenceHead(qkv, t, head);
        out.insert(out.end(), one.begin(), one.end());
      }
    }
    return out;
  }

 private:
  double Rounded(float value) const {
    return spec_.dtype == DType::kBF16 ? Bf16ToFloat(FloatToBf16(value)) : value;
  }

  std::vector<double> ReferenceHead(const std::vector<float>& qkv, int64_t t, int64_t head) const {
    const int64_t dim = spec_.head_dim;
    const int64_t kv = head / (spec_.heads / kv_heads());
    const float* q = qkv.data() + t * qkv_cols() + head * dim;
    std::vector<double> scores, sum(static_cast<size_t>(dim), 0.0);
    double top = -INFINITY, weight = 0.0;
    for (int64_t i = 0; i <= t; ++i) {
      double score = -INFINITY;
      if (InSinksOrWindow(spec_.rows[static_cast<size_t>(kv)], i, t, spec_.page_tokens)) {
        const float* k = qkv.data() + i * qkv_cols() + (spec_.heads + kv) * dim;
        score = 0.0;
        for (int64_t d = 0; d < dim; ++d) score += q[d] * Rounded(k[d]);
        score /= std::sqrt(static_cast<double>(dim));
      }
      scores.push_back(score);
      top = std::max(top, score);
    }
    for (int64_t i = 0; i <= t; ++i) {
      const double p = std::exp(scores[static_cast<size_t>(i)] - top);
      if (p == 0.0) continue;
      weight += p;
      const float* v = qkv.data() + i * qkv_cols() + (spec_.heads + kv_heads() + kv) * dim;
      for (int64_t d = 0; d < dim; ++d) sum[static_cast<size_t>(d)] += p * Rounded(v[d]);
    }
    for (double& value : sum) value /= weight;
    return sum;
  }

  AttentionCase spec_;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<PageStore> store_;
};

}  // namespace headgate
