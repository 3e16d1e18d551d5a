#include "server/tokenizer/added_tokens.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "base/utf8.h"
#include "server/tokenizer/vocabulary.h"

namespace headgate {
namespace {

constexpr size_t kContentBytesMax = 1024;  // bounds the search at one place of the text

absl::StatusOr<AddedToken> ParseToken(const JsonNode& node) {
  AddedToken token;
  ASSIGN_OR_RETURN(token.content, node.String("content"));
  ASSIGN_OR_RETURN(const int64_t id, node.Integer("id"));
  ASSIGN_OR_RETURN(token.special, node.Bool("special", false));
  ASSIGN_OR_RETURN(token.normalized, node.Bool("normalized", !token.special));
  ASSIGN_OR_RETURN(token.takes_left, node.Bool("lstrip", false));
  ASSIGN_OR_RETURN(token.takes_right, node.Bool("rstrip", false));
  ASSIGN_OR_RETURN(const bool single_word, node.Bool("single_word", false));
  if (single_word) return node.Error("single_word", "true is not supported");
  if (token.content.empty() || token.content.size() > kContentBytesMax) {
    return node.Error("content", absl::StrCat("must have 1 to ", kContentBytesMax, " bytes"));
  }
  if (!(0 <= id && id <= Vocabulary::kIdMax)) return node.Error("id", "is out of range");
  token.id = static_cast<TokenId>(id);
  token.normalized = token.normalized && !token.special;
  return token;
}

// Unicode White_Space, which is what \s means in the regex engine of the tokenizers library.
bool IsWhiteSpace(char32_t c) {
  if (c <= 0x20) return c == 0x20 || (c >= 0x09 && c <= 0x0D);
  static constexpr char32_t kOthers[] = {0x85,   0xA0,   0x1680, 0x2028,
                                         0x2029, 0x202F, 0x205F, 0x3000};
  if (c >= 0x2000 && c <= 0x200A) return true;
  return std::binary_search(std::begin(kOthers), std::end(kOthers), c);
}

size_t BackOverWhiteSpace(std::string_view text, size_t end, size_t begin) {
  while (end > begin) {
    size_t at = end - 1;
    while (at > begin && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
    if (!IsWhiteSpace(Utf8CodePoint(text, at))) break;
    end = at;
  }
  return end;
}

size_t OverWhiteSpace(std::string_view text, size_t at) {
  while (at < text.size() && IsWhiteSpace(Utf8CodePoint(text, at))) {
    at += Utf8CharacterSize(text, at);
  }
  return at;
}

}  // namespace

absl::StatusOr<AddedTokens> AddedTokens::Parse(const JsonNode& root, const Normalizer& normalizer) {
  AddedTokens added;
  if (!root.Has("added_tokens")) return added;
  ASSIGN_OR_RETURN(const std::vector<JsonNode> list, root.List("added_tokens"));
  for (const JsonNode& node : list) {
    ASSIGN_OR_RETURN(AddedToken token, ParseToken(node));
    const auto index = static_cast<int32_t>(added.tokens_.size());
    if (token.normalized) {
      ASSIGN_OR_RETURN(const std::string content, normalizer.Apply(token.content));
      if (!content.empty()) added.normalized_.Add(content, index);
    } else {
      added.raw_.Add(token.content, index);
    }
    if (token.special) added.special_ids_.insert(token.id);
    added.tokens_.push_back(std::move(token));
  }
  return added;
}

absl::Status AddedTokens::CutRaw(std::string_view text, absl::Span<const TextSpan> special_spans,
                                 PartSink sink) const {
  return Cut(raw_, text, special_spans, sink);
}

absl::Status AddedTokens::CutNormalized(std::string_view text, PartSink sink) const {
  return Cut(normalized_, text, {}, sink);
}

absl::Status AddedTokens::Cut(const TokenTrie& trie, std::string_view text,
                              absl::Span<const TextSpan> special_spans, PartSink sink) const {
  size_t done = 0;  // text before this has been handed out
  size_t span = 0;  // the first of special_spans that ends behind `at`
  for (size_t at = 0; !trie.empty() && at < text.size();) {
    while (span < special_spans.size() && special_spans[span].end <= at) ++span;
    const bool in_span = span < special_spans.size() && special_spans[span].begin <= at;
    const size_t special_end = in_span ? special_spans[span].end : at;
    const AddedToken* found = nullptr;
    size_t found_size = 0;
    trie.Match(text.substr(at), [&](size_t size, int32_t index) {
      const AddedToken& token = tokens_[index];
      if (token.special && at + size > special_end) return;
      found = &token;
      found_size = size;
    });
    if (found == nullptr) {
      ++at;
      continue;
    }
    const size_t begin = found->takes_left ? BackOverWhiteSpace(text, at, done) : at;
    if (begin > done) RETURN_IF_ERROR(sink({.text = text.substr(done, begin - done)}));
    RETURN_IF_ERROR(sink({.text = {}, .token = found}));
    done = at + found_size;
    if (found->takes_right) done = OverWhiteSpace(text, done);
    at = done;
  }
  if (done < text.size()) return sink({.text = text.substr(done)});
  return absl::OkStatus();
}

}  // namespace headgate
