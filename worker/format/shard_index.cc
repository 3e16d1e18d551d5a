#include "worker/format/shard_index.h"

#include <set>

#include "absl/status/status.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/strict_json.h"

namespace headgate {
namespace {

constexpr int kIndexDepthMax = 8;
constexpr size_t kShardsMax = 4096;
constexpr size_t kFileNameBytesMax = 255;

// One component of a path, so it cannot lead out of the folder.
bool IsPlainShardName(std::string_view name) {
  return name.ends_with(".safetensors") && name.size() <= kFileNameBytesMax &&
         name.front() != '.' && name.find_first_of(std::string_view("/\\\0", 3)) == name.npos;
}

}  // namespace

absl::StatusOr<std::map<std::string, std::string>> ParseShardIndex(std::string_view text,
                                                                   const std::string& path) {
  ASSIGN_OR_RETURN(const nlohmann::json index, ParseStrictJson(text, path, kIndexDepthMax));
  if (!index.is_object() || !index.contains("weight_map") || !index["weight_map"].is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": lacks the object \"weight_map\""));
  }
  std::map<std::string, std::string> file_of_tensor;
  std::set<std::string> files;
  for (const auto& [tensor, file] : index["weight_map"].items()) {
    if (!file.is_string() || !IsPlainShardName(file.get_ref<const std::string&>())) {
      return absl::DataLossError(
          absl::StrCat(path, ": weight_map[\"", absl::CHexEscape(tensor),
                       "\"] is not the name of a .safetensors file beside it: ",
                       absl::CHexEscape(file.dump(-1, ' ', true).substr(0, kFileNameBytesMax))));
    }
    files.insert(file.get<std::string>());
    file_of_tensor.emplace(tensor, file.get<std::string>());
    if (files.size() > kShardsMax) {
      return absl::DataLossError(absl::StrCat(path, ": names more than ", kShardsMax, " files"));
    }
  }
  if (file_of_tensor.empty()) {
    return absl::DataLossError(absl::StrCat(path, ": weight_map names no tensor"));
  }
  return file_of_tensor;
}

}  // namespace headgate
