// How fast the CPU backend is on the shapes of a 135M-parameter model (hidden 576, intermediate
// 1536, 30 layers, 9 query and 3 kv heads of 64, vocabulary 49152): matrix products alone, and
// whole steps of all layers with attention. Not a test; prints one line per case.
//
//   cpu_bench [threads] [scalar|avx2|avx512|amx] [steps: no products alone]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kvstore/page_store.h"
#include "worker/backend.h"
#include "worker/cpu/cpu_backend.h"

namespace headgate {
namespace {

constexpr int64_t kHidden = 576, kIntermediate = 1536, kLayers = 30, kHeads = 9, kKvHeads = 3;
constexpr int64_t kHeadDim = 64, kVocab = 49152, kRowsMax = 1024;
constexpr int64_t kQkv = (kHeads + 2 * kKvHeads) * kHeadDim;

// Wall time; with one thread its processor time, which other programs on the machine disturb less.
double Seconds(bool processor) {
  timespec time;
  clock_gettime(processor ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

std::vector<float> Random(size_t count) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0.0f, 0.04f);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

struct Layer {
  std::unique_ptr<PackedMatrix> qkv, o, gate_up, down;
};

class Bench {
 public:
  explicit Bench(const CpuBackendOptions& options)
      : one_thread_(options.threads == 1),
        backend_(MakeCpuBackend(options).value()),
        weights_(Random(kVocab * kHidden)) {
    for (int64_t i = 0; i < kLayers; ++i) {
      layers_.push_back({Pack(kQkv, kHidden, WeightFormat::kInt4),
                         Pack(kHidden, kHeads * kHeadDim, WeightFormat::kInt4),
                         Pack(2 * kIntermediate, kHidden, WeightFormat::kInt4),
                         Pack(kHidden, kIntermediate, WeightFormat::kInt4)});
    }
    head_ = Pack(kVocab, kHidden, WeightFormat::kInt8);
    norm_ = backend_->Upload(std::vector<float>(kHidden, 1.0f)).value();
    for (int i = 0; i < kHeadDim / 2; ++i) inv_freq_.push_back(1.0f / static_cast<float>(1 + i));
    residual_ = backend_->Allocate(kRowsMax, kHidden, TensorUse::kSum).value();
    hidden_ = backend_->Allocate(kRowsMax, kHidden, TensorUse::kSum).value();
    delta_ = backend_->Allocate(kRowsMax, kHidden, TensorUse::kSum).value();
    qkv_ = backend_->Allocate(kRowsMax, kQkv, TensorUse::kSum).value();
    attended_ = backend_->Allocate(kRowsMax, kHeads * kHeadDim, TensorUse::kSum).value();
    gate_up_ = backend_->Allocate(kRowsMax, 2 * kIntermediate, TensorUse::kSum).value();
    inner_ = backend_->Allocate(kRowsMax, kIntermediate, TensorUse::kSum).value();
    logits_ = backend_->Allocate(8, kVocab, TensorUse::kSum).value();
    std::printf("%s\n", backend_->Describe().c_str());
  }

  void Products() {
    struct Case {
      const char* name;
      int64_t outputs, inputs;
      WeightFormat format;
    };
    const Case cases[] = {
        {"qkv     960 x 576 int4", kQkv, kHidden, WeightFormat::kInt4},
        {"gate_up 3072 x 576 int4", 2 * kIntermediate, kHidden, WeightFormat::kInt4},
        {"down    576 x 1536 int4", kHidden, kIntermediate, WeightFormat::kInt4},
        {"o, TP=2 576 x 192 int4", kHidden, 192, WeightFormat::kInt4},
        {"lm_head 49152 x 576 int8", kVocab, kHidden, WeightFormat::kInt8},
        {"gate_up 3072 x 576 bf16", 2 * kIntermediate, kHidden, WeightFormat::kBF16},
        {"gate_up 3072 x 576 fp32", 2 * kIntermediate, kHidden, WeightFormat::kF32}};
    for (const Case& c : cases) {
      const auto w = Pack(c.outputs, c.inputs, c.format);
      for (int64_t rows : {1, 8, 64, 512}) {
        if (c.outputs == kVocab && rows > 64) continue;
        const auto x = backend_->Allocate(rows, c.inputs, TensorUse::kSum).value();
        const auto out = backend_->Allocate(rows, c.outputs, TensorUse::kSum).value();
        std::fill_n(x.f32(), rows * c.inputs, 0.5f);
        const double time = Median([&] { backend_->MatMul(x, *w, {}, out); });
        std::printf("%-26s M=%-4ld %9.1f us %8.1f GMAC/s %6.1f GB/s\n", c.name,
                    static_cast<long>(rows), time * 1e6,
                    static_cast<double>(rows * c.inputs * c.outputs) / time / 1e9,
                    static_cast<double>(w->bytes()) / time / 1e9);
      }
    }
  }

  // `sequences` sequences decode one token each with `context` tokens before it.
  void Decode(DType pages, int64_t sequences, int64_t context) {
    NewStore(pages, sequences, context + 64);
    Prefill(sequences, context, 512);
    const double time = Median([&] {
      for (auto& chunk : chunks_) chunk = Next(chunk, 1);
      Step(sequences, true);
    });
    std::printf("decode %ld x 1 after %ld, %s pages: %.2f ms, %.0f tokens/s, %.2f ms attention\n",
                static_cast<long>(sequences), static_cast<long>(context),
                std::string(DTypeName(pages)).c_str(), time * 1e3,
                static_cast<double>(sequences) / time, attention_ * 1e3);
  }

  void Prompt(DType pages, int64_t tokens, int64_t chunk) {
    double best = 1e9, attention = 0.0;
    for (int round = 0; round < 3; ++round) {
      NewStore(pages, 1, tokens);
      const double start = Now();
      attention = Prefill(1, tokens, chunk);
      best = std::min(best, Now() - start);
    }
    std::printf(
        "prompt %ld in chunks of %ld, %s pages: %.1f ms, %.0f tokens/s, %.1f ms attention\n",
        static_cast<long>(tokens), static_cast<long>(chunk), std::string(DTypeName(pages)).c_str(),
        best * 1e3, static_cast<double>(tokens) / best, attention * 1e3);
  }

 private:
  // Times `body` until it has run for a while; seconds of the median call.
  template <typename Body>
  double Median(Body body) {
    std::vector<double> times;
    const double begin = Now();
    do {
      const double start = Now();
      body();
      times.push_back(Now() - start);
    } while (times.size() < 5 || (Now() - begin < 0.3 && times.size() < 2000));
    std::nth_element(times.begin(), times.begin() + times.size() / 2, times.end());
    return times[times.size() / 2];
  }

  double Now() const { return Seconds(one_thread_); }

  std::unique_ptr<PackedMatrix> Pack(int64_t outputs, int64_t inputs, WeightFormat format) {
    return backend_
        ->Pack(HostRows({reinterpret_cast<const std::byte*>(weights_.data()), DType::kF32, outputs,
                         inputs, inputs}),
               format)
        .value();
  }

  void NewStore(DType pages, int64_t sequences, int64_t tokens) {
    const std::vector<std::vector<RowSpec>> rows(kLayers, std::vector<RowSpec>(kKvHeads));
    KvLayout layout = MakeKvLayout(16, kHeadDim, pages, rows);
    // Decode rounds add up to 2000 tokens.
    const auto count =
        static_cast<uint32_t>(sequences * kLayers * kKvHeads * ((tokens + 2100 + 15) / 16));
    store_ = backend_->CreatePages(layout, count, 1 << 20).value();
    chunks_.clear();
    for (int64_t s = 0; s < sequences; ++s) {
      if (!store_->AddSequence(static_cast<SequenceId>(s)).ok()) std::exit(1);
      chunks_.push_back({static_cast<SequenceId>(s), 0, {}, false, {}});
    }
  }

  static Chunk Next(const Chunk& chunk, int64_t length) {
    const int64_t done = chunk.position + static_cast<int64_t>(chunk.tokens.size());
    return {chunk.sequence, done, std::vector<TokenId>(static_cast<size_t>(length), 7), false, {}};
  }

  double Prefill(int64_t sequences, int64_t tokens, int64_t step) {
    double attention = 0.0;
    for (int64_t at = 0; at < tokens; at += step) {
      const int64_t length = std::min(step, tokens - at);
      if (sequences == 1) {
        chunks_[0] = Next(chunks_[0], length);
        Step(length, at + length == tokens);
        attention += attention_;
        continue;
      }
      const auto all = chunks_;
      for (size_t s = 0; s < all.size(); ++s) {  // one sequence a step
        chunks_ = {Next(all[s], length)};
        Step(length, false);
        attention += attention_;
        auto done = std::move(chunks_[0]);
        chunks_ = all;
        pending_.push_back(std::move(done));
      }
      chunks_ = std::move(pending_);
      pending_.clear();
    }
    return attention;
  }

  void Step(int64_t rows, bool logits) {
    Batch batch;
    for (const Chunk& chunk : chunks_) {
      const auto length = static_cast<int64_t>(chunk.tokens.size());
      batch.sequences.push_back({chunk.sequence, chunk.position, batch.rows(), length});
      for (int64_t i = 0; i < length; ++i) {
        batch.tokens.push_back(7);
        batch.positions.push_back(static_cast<int32_t>(chunk.position + i));
      }
    }
    if (!store_->BeginStep(chunks_).ok()) std::exit(1);
    attention_ = 0.0;
    const Tensor residual = residual_.Rows(rows), hidden = hidden_.Rows(rows);
    const Tensor delta = delta_.Rows(rows), qkv = qkv_.Rows(rows);
    const Tensor attended = attended_.Rows(rows), inner = inner_.Rows(rows);
    backend_->BeginStep(batch, batch.rows());
    backend_->Embed(*head_, residual);
    backend_->RmsNorm(residual, norm_, 1e-5f, hidden);
    for (int64_t i = 0; i < kLayers; ++i) {
      const Layer& layer = layers_[static_cast<size_t>(i)];
      backend_->MatMul(hidden, *layer.qkv, {}, qkv);
      const double start = Now();
      backend_->AttendAndAppend(i, qkv, inv_freq_, kHeads, attended);
      attention_ += Now() - start;
      backend_->MatMul(attended, *layer.o, {}, delta);
      backend_->SumAddRmsNorm(residual, delta, norm_, 1e-5f, hidden).IgnoreError();  // one rank
      backend_->GatedMatMul(hidden, *layer.gate_up, {}, gate_up_.Rows(rows), inner);
      backend_->MatMul(inner, *layer.down, {}, delta);
      backend_->SumAddRmsNorm(residual, delta, norm_, 1e-5f, hidden).IgnoreError();  // one rank
    }
    if (logits) {
      const auto last = static_cast<int64_t>(chunks_.size());
      backend_->MatMul(hidden.Rows(last), *head_, {}, logits_.Rows(last));
    }
    store_->Commit();
  }

  const bool one_thread_;
  std::unique_ptr<Backend> backend_;
  std::vector<float> weights_;
  std::vector<Layer> layers_;
  std::unique_ptr<PackedMatrix> head_;
  std::span<const float> norm_;
  std::vector<float> inv_freq_;
  Tensor residual_, hidden_, delta_, qkv_, attended_, gate_up_, inner_, logits_;
  std::unique_ptr<PageStore> store_;
  std::vector<Chunk> chunks_, pending_;
  double attention_ = 0.0;  // seconds of the last step
};

int Run(int argc, char** argv) {
  CpuBackendOptions options;
  if (argc > 1) options.threads = std::atoi(argv[1]);
  if (argc > 2) options.isa_max = IsaFromName(argv[2]).value();
  Bench bench(options);
  if (argc <= 3) bench.Products();
  for (DType pages : {DType::kBF16, DType::kF32}) {
    bench.Decode(pages, 1, 16);
    bench.Decode(pages, 1, 2000);
    bench.Decode(pages, 8, 200);
    bench.Prompt(pages, 512, 512);
    bench.Prompt(pages, 4096, 512);
  }
  return 0;
}

}  // namespace
}  // namespace headgate

int main(int argc, char** argv) { return headgate::Run(argc, argv); }
