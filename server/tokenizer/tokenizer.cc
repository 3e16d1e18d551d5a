#include "server/tokenizer/tokenizer.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/stored_file.h"
#include "base/strict_json.h"
#include "base/utf8.h"

namespace headgate {
namespace {

constexpr size_t kFileBytesMax = size_t{256} << 20;
constexpr int kJsonDepthMax = 64;
constexpr size_t kTextBytesMax = size_t{1} << 28;

absl::Status Named(const std::string& file, const absl::Status& status) {
  return absl::Status(status.code(), absl::StrCat(file, ": ", status.message()));
}

// Joins the pieces, and collects the stretches in which special tokens may be found.
absl::StatusOr<std::string> Join(absl::Span<const TextPiece> pieces, size_t max_bytes,
                                 std::vector<TextSpan>* special_spans) {
  max_bytes = std::min(max_bytes, kTextBytesMax);
  std::string text;
  for (const TextPiece& piece : pieces) {
    if (piece.text.size() > max_bytes - text.size()) {
      return absl::InvalidArgumentError(
          absl::StrCat("text is longer than the limit of ", max_bytes, " bytes"));
    }
    if (const size_t bad = FirstInvalidUtf8(piece.text); bad != std::string_view::npos) {
      return absl::InvalidArgumentError(
          absl::StrCat("text is not valid UTF-8 at byte ", text.size() + bad));
    }
    const TextSpan span{text.size(), text.size() + piece.text.size()};
    text.append(piece.text);
    if (!piece.parse_special || piece.text.empty()) continue;
    if (!special_spans->empty() && special_spans->back().end == span.begin) {
      special_spans->back().end = span.end;
    } else {
      special_spans->push_back(span);
    }
  }
  return text;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::FromDocument(const JsonNode& root) {
  std::unique_ptr<Tokenizer> tokenizer(new Tokenizer);
  ASSIGN_OR_RETURN(tokenizer->normalizer_, Normalizer::Parse(root));
  ASSIGN_OR_RETURN(tokenizer->pre_tokenizer_, PreTokenizer::Parse(root));
  ASSIGN_OR_RETURN(tokenizer->added_, AddedTokens::Parse(root, tokenizer->normalizer_));
  const auto alphabet = tokenizer->pre_tokenizer_.byte_level() ? BpeModel::Alphabet::kBytes
                                                               : BpeModel::Alphabet::kCharacters;
  ASSIGN_OR_RETURN(
      tokenizer->model_,
      BpeModel::Parse(root, alphabet, tokenizer->added_.special_ids(), &tokenizer->vocabulary_));
  ASSIGN_OR_RETURN(tokenizer->post_processor_, PostProcessor::Parse(root));
  ASSIGN_OR_RETURN(tokenizer->decoder_, Decoder::Parse(root));
  RETURN_IF_ERROR(tokenizer->AddAddedTokens());
  RETURN_IF_ERROR(tokenizer->CheckIds(root));
  tokenizer->FillTokenBytes();
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::ParseFile(std::string_view json,
                                                                const std::string& file) {
  ASSIGN_OR_RETURN(const nlohmann::json document, ParseStrictJson(json, file, kJsonDepthMax));
  auto tokenizer = FromDocument(JsonNode(document, ""));
  if (!tokenizer.ok()) return Named(file, tokenizer.status());
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view json) {
  return ParseFile(json, "tokenizer.json");
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(const std::string& model_dir) {
  const std::string path = (std::filesystem::path(model_dir) / "tokenizer.json").string();
  ASSIGN_OR_RETURN(const std::string content, ReadSmallFile(path, kFileBytesMax));
  return ParseFile(content, path);
}

absl::Status Tokenizer::AddAddedTokens() {
  for (size_t i = 0; i < added_.tokens().size(); ++i) {
    const AddedToken& token = added_.tokens()[i];
    const absl::Status status = vocabulary_.Add(token.content, token.id);
    if (!status.ok()) return Named(absl::StrCat("added_tokens[", i, "]"), status);
  }
  return absl::OkStatus();
}

absl::Status Tokenizer::CheckIds(const JsonNode& root) const {
  for (const auto* ids : {&post_processor_.prefix, &post_processor_.suffix}) {
    for (const TokenId id : *ids) {
      if (vocabulary_.TextOf(id).empty()) {
        return root.Error("post_processor",
                          absl::StrCat("adds the id ", id, ", which is no token"));
      }
    }
  }
  return absl::OkStatus();
}

void Tokenizer::FillTokenBytes() {
  token_bytes_.resize(vocabulary_.size());
  for (TokenId id = 0; id < vocabulary_.size(); ++id) {
    token_bytes_[id] = decoder_.TokenBytes(vocabulary_.TextOf(id));
  }
  // Added tokens are found in the text as they stand, so that is what they stand for.
  for (const AddedToken& token : added_.tokens()) {
    if (token.special || decoder_.byte_level()) token_bytes_[token.id] = token.content;
  }
}

std::string_view Tokenizer::TokenBytes(TokenId id) const {
  if (id < 0 || id >= vocab_size()) return {};
  return token_bytes_[id];
}

absl::Status Tokenizer::EncodeStretch(std::string_view text, bool at_start, BpeScratch* scratch,
                                      std::vector<TokenId>* ids) const {
  std::string rewritten;
  if (!normalizer_.is_identity()) {
    ASSIGN_OR_RETURN(rewritten, normalizer_.Apply(text));
    text = rewritten;
  }
  const char* const begin = text.data();
  return added_.CutNormalized(text, [&](const AddedTokens::Part& part) -> absl::Status {
    if (part.token != nullptr) {
      ids->push_back(part.token->id);
      return absl::OkStatus();
    }
    return pre_tokenizer_.Cut(part.text, at_start && part.text.data() == begin,
                              [&](std::string_view word) { model_->Encode(word, scratch, ids); });
  });
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(absl::Span<const TextPiece> pieces,
                                                       const EncodeOptions& options) const {
  std::vector<TextSpan> special_spans;
  ASSIGN_OR_RETURN(const std::string text, Join(pieces, options.max_bytes, &special_spans));
  std::vector<TokenId> ids;
  if (options.add_special) ids = post_processor_.prefix;
  BpeScratch scratch;
  RETURN_IF_ERROR(
      added_.CutRaw(text, special_spans, [&](const AddedTokens::Part& part) -> absl::Status {
        if (part.token != nullptr) {
          ids.push_back(part.token->id);
          return absl::OkStatus();
        }
        return EncodeStretch(part.text, part.text.data() == text.data(), &scratch, &ids);
      }));
  if (options.add_special) {
    ids.insert(ids.end(), post_processor_.suffix.begin(), post_processor_.suffix.end());
  }
  return ids;
}

absl::StatusOr<std::vector<TokenId>> Tokenizer::Encode(std::string_view text,
                                                       const EncodeOptions& options) const {
  const TextPiece piece{text, /*parse_special=*/false};
  return Encode(absl::MakeConstSpan(&piece, 1), options);
}

}  // namespace headgate
