#include "cli/bench/shared_pages.h"

#include <utility>

namespace headgate {
namespace {

class SharedPages final : public Backend {
 public:
  SharedPages(std::unique_ptr<Backend> inner, int64_t page_layers)
      : inner_(std::move(inner)), page_layers_(page_layers) {}

  void AttendAndAppend(int64_t layer, Tensor qkv, std::span<const float> inv_freq, int64_t heads,
                       Tensor out) override {
    inner_->AttendAndAppend(layer % page_layers_, qkv, inv_freq, heads, out);
  }

  std::string Describe() const override { return inner_->Describe(); }
  StepClock* step_clock() override { return inner_->step_clock(); }
  std::vector<QueueStats> Queues() const override { return inner_->Queues(); }
  absl::StatusOr<Tensor> Allocate(int64_t rows, int64_t cols, TensorUse use) override {
    return inner_->Allocate(rows, cols, use);
  }
  absl::StatusOr<std::unique_ptr<PackedMatrix>> Pack(const RowSource& rows,
                                                     WeightFormat format) override {
    return inner_->Pack(rows, format);
  }
  absl::StatusOr<std::span<const float>> Upload(std::span<const float> values) override {
    return inner_->Upload(values);
  }
  absl::Status PrepareMatMul(Tensor x, const PackedMatrix& w, Tensor out) override {
    return inner_->PrepareMatMul(x, w, out);
  }
  int64_t LogitRowsMax() const override { return inner_->LogitRowsMax(); }
  int64_t PageMemoryBytes(int ranks) const override { return inner_->PageMemoryBytes(ranks); }
  absl::StatusOr<std::unique_ptr<PageStore>> CreatePages(const KvLayout& layout, uint32_t pages,
                                                         int64_t positions_max) override {
    return inner_->CreatePages(layout, pages, positions_max);
  }
  absl::StatusOr<std::unique_ptr<TokenSampler>> CreateSampler(const SamplerShape& shape) override {
    return inner_->CreateSampler(shape);
  }
  absl::Status Connect(Collective* peers) override { return inner_->Connect(peers); }
  int64_t BeginStep(const Batch& batch, int64_t rows_max) override {
    return inner_->BeginStep(batch, rows_max);
  }
  absl::Status Run(absl::FunctionRef<absl::Status()> operations) override {
    return inner_->Run(operations);
  }
  void Embed(const PackedMatrix& table, Tensor out) override { inner_->Embed(table, out); }
  void RmsNorm(Tensor x, std::span<const float> weight, float eps, Tensor out) override {
    inner_->RmsNorm(x, weight, eps, out);
  }
  absl::Status SumAddRmsNorm(Tensor residual, Tensor delta, std::span<const float> weight,
                             float eps, Tensor out) override {
    return inner_->SumAddRmsNorm(residual, delta, weight, eps, out);
  }
  absl::Status SumAdd(Tensor residual, Tensor delta) override {
    return inner_->SumAdd(residual, delta);
  }
  void MatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor out) override {
    inner_->MatMul(x, w, bias, out);
  }
  void GatedMatMul(Tensor x, const PackedMatrix& w, std::span<const float> bias, Tensor gate_up,
                   Tensor out) override {
    inner_->GatedMatMul(x, w, bias, gate_up, out);
  }
  void HeadNorm(Tensor x, int64_t begin, int64_t heads, std::span<const float> weight,
                float eps) override {
    inner_->HeadNorm(x, begin, heads, weight, eps);
  }
  void GatherOutputs(Tensor x, int64_t begin, Tensor out) override {
    inner_->GatherOutputs(x, begin, out);
  }

 private:
  const std::unique_ptr<Backend> inner_;
  const int64_t page_layers_;
};

}  // namespace

std::unique_ptr<Backend> MakeSharedPages(std::unique_ptr<Backend> inner, int64_t page_layers) {
  return std::make_unique<SharedPages>(std::move(inner), page_layers);
}

}  // namespace headgate
