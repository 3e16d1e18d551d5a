#include "worker/format/checkpoint.h"

#include <algorithm>
#include <map>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/check.h"
#include "base/status_macros.h"
#include "worker/format/shard_index.h"

namespace headgate {
namespace {

constexpr uint64_t kIndexBytesMax = 64 << 20;

// Each tensor in the file that the index names, and no tensor that the index does not know.
absl::Status CheckShards(const std::map<std::string, std::string>& file_of_tensor,
                         const std::map<std::string, const SafetensorsFile*>& files,
                         const std::string& index_path) {
  for (const auto& [tensor, file] : file_of_tensor) {
    if (files.at(file)->Find(tensor) == nullptr) {
      return absl::DataLossError(absl::StrCat(index_path, ": tensor ", absl::CHexEscape(tensor),
                                              " is not in ", file, ", where the index has it"));
    }
  }
  for (const auto& [name, file] : files) {
    for (const TensorInfo& info : file->tensors()) {
      const auto found = file_of_tensor.find(info.name);
      if (found == file_of_tensor.end() || found->second != name) {
        return absl::DataLossError(absl::StrCat(file->path(), ": holds tensor ",
                                                absl::CHexEscape(info.name),
                                                ", which the index does not have there"));
      }
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::unique_ptr<SafetensorsFile>>> OpenShards(
    const std::string& model_dir, const std::string& index_path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(index_path, kIndexBytesMax));
  ASSIGN_OR_RETURN(const auto file_of_tensor, ParseShardIndex(text, index_path));
  std::map<std::string, const SafetensorsFile*> by_name;
  for (const auto& [tensor, file] : file_of_tensor) by_name.emplace(file, nullptr);
  std::vector<std::unique_ptr<SafetensorsFile>> files;
  for (auto& [name, file] : by_name) {
    ASSIGN_OR_RETURN(SafetensorsFile opened,
                     SafetensorsFile::Open(absl::StrCat(model_dir, "/", name)));
    files.push_back(std::make_unique<SafetensorsFile>(std::move(opened)));
    file = files.back().get();
  }
  RETURN_IF_ERROR(CheckShards(file_of_tensor, by_name, index_path));
  return files;
}

}  // namespace

absl::StatusOr<Checkpoint> Checkpoint::Open(const std::string& model_dir) {
  auto single = SafetensorsFile::Open(absl::StrCat(model_dir, "/model.safetensors"));
  if (single.ok()) {
    std::vector<std::unique_ptr<SafetensorsFile>> files;
    files.push_back(std::make_unique<SafetensorsFile>(*std::move(single)));
    return Checkpoint(model_dir, std::move(files));
  }
  if (!absl::IsNotFound(single.status())) return single.status();
  auto shards = OpenShards(model_dir, absl::StrCat(model_dir, "/model.safetensors.index.json"));
  if (absl::IsNotFound(shards.status())) {
    return absl::NotFoundError(
        absl::StrCat(shards.status().message(), " (and ", model_dir, " has no model.safetensors)"));
  }
  if (!shards.ok()) return shards.status();
  return Checkpoint(model_dir, *std::move(shards));
}

Checkpoint::Checkpoint(std::string model_dir, std::vector<std::unique_ptr<SafetensorsFile>> files)
    : model_dir_(std::move(model_dir)), files_(std::move(files)) {
  for (size_t i = 0; i < files_.size(); ++i) {
    for (const TensorInfo& info : files_[i]->tensors()) {
      const bool is_new = places_.emplace(info.name, Place{i, &info}).second;
      CHECK(is_new) << info.name << " is in two shards";  // CheckShards refuses that
    }
  }
}

std::vector<std::string> Checkpoint::Names() const {
  std::vector<std::string> names;
  names.reserve(places_.size());
  for (const auto& [name, place] : places_) names.push_back(name);
  std::sort(names.begin(), names.end());
  return names;
}

const TensorInfo* Checkpoint::Find(const std::string& name) const {
  const auto found = places_.find(name);
  return found == places_.end() ? nullptr : found->second.info;
}

const std::string& Checkpoint::FileOf(const std::string& name) const {
  const auto found = places_.find(name);
  CHECK(found != places_.end()) << "no tensor " << name;
  return files_[found->second.file]->path();
}

absl::StatusOr<TensorBytes> Checkpoint::Read(const std::string& name) const {
  ASSIGN_OR_RETURN(const Place place, PlaceOf(name));
  return files_[place.file]->Read(*place.info);
}

absl::Status Checkpoint::ReadRows(const std::string& name, int64_t first_row, int64_t rows,
                                  std::span<std::byte> out) const {
  ASSIGN_OR_RETURN(const Place place, PlaceOf(name));
  return files_[place.file]->ReadRows(*place.info, first_row, rows, out);
}

absl::StatusOr<Checkpoint::Place> Checkpoint::PlaceOf(const std::string& name) const {
  const auto found = places_.find(name);
  if (found == places_.end()) {
    return absl::NotFoundError(absl::StrCat(model_dir_, " has no tensor ", name));
  }
  return found->second;
}

}  // namespace headgate
