// All tensors of a model folder: model.safetensors, or the shards that model.safetensors.index.json
// names. Thread safe after Open.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "worker/format/safetensors.h"

namespace headgate {

class Checkpoint final {
 public:
  // Opens every file and checks every header; reads no weights. NOT_FOUND when the folder has no
  // model file; DATA_LOSS for a damaged file, a shard name that leaves the folder, and any
  // disagreement between index and shards. When both layouts exist, model.safetensors counts.
  static absl::StatusOr<Checkpoint> Open(const std::string& model_dir);

  const std::string& model_dir() const { return model_dir_; }
  size_t size() const { return places_.size(); }          // number of tensors
  std::vector<std::string> Names() const;                 // sorted
  const TensorInfo* Find(const std::string& name) const;  // nullptr = no such tensor
  // The file that holds a tensor, for messages. REQUIRES: Find(name) != nullptr.
  const std::string& FileOf(const std::string& name) const;

  // As SafetensorsFile's, by name; NOT_FOUND when there is no such tensor.
  absl::StatusOr<TensorBytes> Read(const std::string& name) const;
  absl::Status ReadRows(const std::string& name, int64_t first_row, int64_t rows,
                        std::span<std::byte> out) const;

 private:
  struct Place {
    size_t file = 0;
    const TensorInfo* info = nullptr;  // in files_[file]
  };

  Checkpoint(std::string model_dir, std::vector<std::unique_ptr<SafetensorsFile>> files);

  absl::StatusOr<Place> PlaceOf(const std::string& name) const;

  std::string model_dir_;
  std::vector<std::unique_ptr<SafetensorsFile>> files_;
  absl::flat_hash_map<std::string, Place> places_;
};

}  // namespace headgate
