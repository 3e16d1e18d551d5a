// One rank of a model of random weights that does decode steps: pages claimed for contexts that
// were never computed, then steps as a worker submits them. All ranks make the same calls; one
// thread each.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "cli/bench/step_bench.h"
#include "cli/bench/step_setup.h"
#include "kvstore/kv_layout.h"
#include "worker/backend.h"
#include "worker/collective/collective.h"
#include "worker/model/transformer.h"

namespace headgate {

// Bytes are this rank's.
struct StepFigures {
  int64_t batch = 0;
  int64_t context = 0;
  double micros = 0.0;                               // median of a step
  int64_t kv_bytes_read = 0;                         // that the step's queries see, of all layers
  int64_t kv_bytes_held = 0;                         // pages of the sequences
  std::optional<DeviceTimes> device = std::nullopt;  // of all measured steps, where it has a clock
};

class StepRank {
 public:
  // `setup` and `peers` must outlive the result. Errors: the backend's and the collective's.
  static absl::StatusOr<std::unique_ptr<StepRank>> Create(const StepBenchOptions& options,
                                                          const StepSetup& setup,
                                                          Collective& peers);
  ~StepRank();
  StepRank(const StepRank&) = delete;
  StepRank& operator=(const StepRank&) = delete;

  // RESOURCE_EXHAUSTED, on every rank, when the contexts do not fit in some rank's memory.
  absl::StatusOr<StepFigures> Run(int64_t batch, int64_t context);

  int64_t weight_bytes_read() const { return weight_bytes_read_; }  // by a step
  int64_t weight_bytes_held() const { return weight_bytes_held_; }
  std::string device() const { return backend_->Describe(); }

 private:
  StepRank(const StepBenchOptions& options, const StepSetup& setup, Collective& peers)
      : options_(options), setup_(setup), peers_(peers) {}

  absl::Status Load();
  absl::Status MakeDevice();
  absl::Status MakePages();
  absl::Status CheckFits(int64_t batch, int64_t context);
  absl::Status Fill(int64_t batch, int64_t context);
  absl::Status Submit();
  absl::Status Await(bool measured);
  absl::StatusOr<double> Steps();
  int64_t VisibleBytes(int64_t batch, int64_t position) const;
  int64_t HeldBytes() const;

  const StepBenchOptions options_;
  const StepSetup& setup_;
  Collective& peers_;
  KvLayout layout_;  // of all layers, as if none shared pages
  int64_t weight_bytes_read_ = 0;
  int64_t weight_bytes_held_ = 0;
  std::unique_ptr<Backend> backend_;
  std::unique_ptr<PageStore> store_;
  std::unique_ptr<Transformer> transformer_;
  std::unique_ptr<TokenSampler> sampler_;
  std::vector<Chunk> chunks_;  // the next decode step
  std::vector<LogitUse> uses_;
  Batch batch_;
  std::optional<DeviceTimes> device_times_;  // of the measured steps so far
};

}  // namespace headgate
