// Reading the model part of tokenizer.json; see bpe_model.h.
#include <algorithm>
#include <optional>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status_macros.h"
#include "server/tokenizer/bpe_model.h"
#include "server/tokenizer/byte_alphabet.h"

namespace headgate {
namespace {

constexpr size_t kVocabMax = size_t{1} << 22;
constexpr size_t kMergesMax = size_t{1} << 23;

absl::Status RefuseUnsupported(const JsonNode& model) {
  // Older files of byte-level models name no type.
  if (model.Has("type")) {
    ASSIGN_OR_RETURN(const std::string type, model.String("type"));
    if (type != "BPE") {
      return model.Error("type", absl::StrCat("\"", type, "\" is not supported; supported: BPE"));
    }
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!model.Has(key)) continue;
    ASSIGN_OR_RETURN(const std::string text, model.String(key));
    if (!text.empty()) return model.Error(key, "is not supported; it must be empty or null");
  }
  if (model.Has("dropout")) {
    ASSIGN_OR_RETURN(const JsonNode dropout, model.At("dropout"));
    if (!dropout.value().is_number() || dropout.value().get<double>() != 0.0) {
      return dropout.Error("", "is not supported; it must be 0 or null");
    }
  }
  return absl::OkStatus();
}

absl::Status ParseVocab(const JsonNode& model, Vocabulary* vocabulary) {
  ASSIGN_OR_RETURN(const JsonNode vocab, model.At("vocab"));
  if (!vocab.value().is_object()) return vocab.Error("", "must be an object of token: id");
  if (vocab.value().size() > kVocabMax) return vocab.Error("", "has too many tokens");
  for (const auto& [text, id] : vocab.value().items()) {
    if (!id.is_number_integer()) {
      return vocab.Error("", absl::StrCat("[\"", text, "\"] must be an integer id"));
    }
    const absl::Status added = vocabulary->Add(text, id.get<int64_t>());
    if (!added.ok()) return vocab.Error("", absl::StrCat("[\"", text, "\"] ", added.message()));
  }
  return absl::OkStatus();
}

// "left right", or ["left", "right"].
std::optional<std::pair<std::string, std::string>> ParsePair(const nlohmann::json& merge) {
  if (merge.is_array()) {
    if (merge.size() != 2 || !merge[0].is_string() || !merge[1].is_string()) return std::nullopt;
    return std::pair(merge[0].get<std::string>(), merge[1].get<std::string>());
  }
  if (!merge.is_string()) return std::nullopt;
  const auto& line = merge.get_ref<const std::string&>();
  const size_t space = line.find(' ');
  if (space == std::string::npos || line.find(' ', space + 1) != std::string::npos) {
    return std::nullopt;
  }
  return std::pair(line.substr(0, space), line.substr(space + 1));
}

}  // namespace

absl::Status BpeModel::ParseMerges(const JsonNode& model, const Vocabulary& vocabulary,
                                   const absl::flat_hash_set<TokenId>& reserved) {
  ASSIGN_OR_RETURN(const JsonNode list, model.At("merges"));
  if (!list.value().is_array()) return list.Error("", "must be a list");
  if (list.value().size() > kMergesMax) return list.Error("", "has too many merges");
  merges_.reserve(list.value().size());
  uint32_t rank = 0;
  for (const nlohmann::json& merge : list.value()) {
    const auto where = [&] { return absl::StrCat("[", rank, "] "); };
    const auto pair = ParsePair(merge);
    if (!pair) return list.Error("", where() + "must be \"left right\" or [\"left\", \"right\"]");
    const auto left = vocabulary.IdOf(pair->first);
    const auto right = vocabulary.IdOf(pair->second);
    const auto made = vocabulary.IdOf(pair->first + pair->second);
    if (!left || !right || !made) {
      return list.Error("", where() + "joins or makes a token that is not in model.vocab");
    }
    if (!reserved.contains(*made)) {
      merges_.insert_or_assign(PairKey(*left, *right), Merge{rank, *made});
    }
    ++rank;
  }
  return absl::OkStatus();
}

void BpeModel::FillByteTables(const Vocabulary& vocabulary, bool byte_fallback) {
  has_fallback_ = byte_fallback;
  for (int byte = 0; byte < 256; ++byte) {
    byte_ids_[byte] =
        vocabulary.IdOf(ByteCharacter(static_cast<uint8_t>(byte))).value_or(TokenId{kNone});
    fallback_ids_[byte] =
        vocabulary.IdOf(absl::StrFormat("<0x%02X>", byte)).value_or(TokenId{kNone});
  }
}

absl::StatusOr<BpeModel> BpeModel::Parse(const JsonNode& root, Alphabet alphabet,
                                         const absl::flat_hash_set<TokenId>& reserved,
                                         Vocabulary* vocabulary) {
  ASSIGN_OR_RETURN(const JsonNode model, root.At("model"));
  RETURN_IF_ERROR(RefuseUnsupported(model));
  RETURN_IF_ERROR(ParseVocab(model, vocabulary));

  BpeModel bpe;
  bpe.alphabet_ = alphabet;
  ASSIGN_OR_RETURN(bpe.ignore_merges_, model.Bool("ignore_merges", false));
  ASSIGN_OR_RETURN(bpe.fuse_unknown_, model.Bool("fuse_unk", false));
  ASSIGN_OR_RETURN(const bool byte_fallback, model.Bool("byte_fallback", false));
  RETURN_IF_ERROR(bpe.ParseMerges(model, *vocabulary, reserved));
  bpe.FillByteTables(*vocabulary, byte_fallback);
  if (byte_fallback) {
    for (int byte = 0; byte < 256; ++byte) {
      if (bpe.fallback_ids_[byte] == kNone) {
        return model.Error("vocab",
                           absl::StrFormat("lacks <0x%02X>, which byte_fallback needs", byte));
      }
    }
  }
  if (model.Has("unk_token")) {
    ASSIGN_OR_RETURN(const std::string unknown, model.String("unk_token"));
    const auto id = vocabulary->IdOf(unknown);
    if (!id) return model.Error("unk_token", "is not in model.vocab");
    bpe.unknown_ = *id;
  }
  for (TokenId id = 0; id < vocabulary->size(); ++id) {
    const std::string_view text = vocabulary->TextOf(id);
    if (text.empty() || reserved.contains(id)) continue;
    bpe.ids_.emplace(text, id);
    bpe.longest_ = std::max(bpe.longest_, text.size());
  }
  return bpe;
}

}  // namespace headgate
