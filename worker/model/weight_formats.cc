#include "worker/model/weight_formats.h"

#include <filesystem>
#include <optional>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/stored_file.h"
#include "base/strict_json.h"

namespace headgate {
namespace {

constexpr int64_t kQuantGroup = 32;
constexpr uint64_t kFileBytesMax = 64 * 1024;
constexpr int kJsonDepthMax = 16;

std::optional<WeightFormat> FormatOfName(std::string_view name) {
  if (name == "as-stored") return WeightFormat::kAsStored;
  if (name == "fp32") return WeightFormat::kF32;
  if (name == "bf16") return WeightFormat::kBF16;
  if (name == "int8") return WeightFormat::kInt8;
  if (name == "int4") return WeightFormat::kInt4;
  return std::nullopt;
}

// weights.<key> of headgate.json; as stored when the file does not say.
absl::StatusOr<WeightFormat> NotedFormat(const nlohmann::json& weights, const char* key,
                                         const std::string& path) {
  const auto entry = weights.find(key);
  if (entry == weights.end()) return WeightFormat::kAsStored;
  if (entry->is_string()) {
    if (const auto format = FormatOfName(entry->get<std::string>())) return *format;
  }
  return absl::DataLossError(
      absl::StrCat(path, ": weights.", key, " must be one of as-stored, fp32, bf16, int8, int4"));
}

absl::StatusOr<WeightFormats> ReadNote(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadSmallFile(path, kFileBytesMax));
  ASSIGN_OR_RETURN(const nlohmann::json note, ParseStrictJson(text, path, kJsonDepthMax));
  if (!note.is_object()) return absl::DataLossError(absl::StrCat(path, ": not an object"));
  const auto weights = note.find("weights");
  if (weights == note.end()) return WeightFormats{};
  if (!weights->is_object()) {
    return absl::DataLossError(absl::StrCat(path, ": weights must be an object"));
  }
  WeightFormats formats;
  ASSIGN_OR_RETURN(formats.linear, NotedFormat(*weights, "linear", path));
  ASSIGN_OR_RETURN(formats.embedding, NotedFormat(*weights, "embedding", path));
  return formats;
}

}  // namespace

absl::StatusOr<WeightFormats> ChooseWeightFormats(std::string_view choice,
                                                  const std::string& model_dir) {
  if (choice == "auto") {
    const std::string path = model_dir + "/headgate.json";
    std::error_code error;
    if (model_dir.empty() || !std::filesystem::exists(path, error)) return WeightFormats{};
    return ReadNote(path);
  }
  const auto format = FormatOfName(choice);
  if (!format.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("weight format \"", std::string(choice),
                     "\" is none of auto, as-stored, fp32, bf16, int8, int4"));
  }
  if (*format == WeightFormat::kInt4) return WeightFormats{*format, WeightFormat::kInt8};
  return WeightFormats{*format, *format};
}

WeightFormat FormatThatFits(WeightFormat wanted, int64_t inputs) {
  const bool grouped = wanted == WeightFormat::kInt8 || wanted == WeightFormat::kInt4;
  return grouped && inputs % kQuantGroup != 0 ? WeightFormat::kAsStored : wanted;
}

}  // namespace headgate
