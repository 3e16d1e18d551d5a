#include "server/tokenizer/incremental_detokenizer.h"

namespace headgate {

IncrementalDetokenizer::IncrementalDetokenizer(const Tokenizer& tokenizer,
                                               const DetokenizeOptions& options)
    : tokenizer_(tokenizer),
      skip_special_(options.skip_special),
      strip_left_(options.at_text_start ? tokenizer.leading_strip().count : 0) {}

void IncrementalDetokenizer::Strip(std::string* text) {
  const std::string& character = tokenizer_.leading_strip().character;
  size_t cut = 0;
  while (strip_left_ > 0 && cut < text->size()) {
    if (text->compare(cut, character.size(), character) != 0) {
      strip_left_ = 0;
      break;
    }
    cut += character.size();
    --strip_left_;
  }
  text->erase(0, cut);
}

std::string IncrementalDetokenizer::Push(TokenId id) {
  std::string text;
  if (skip_special_ && tokenizer_.IsSpecial(id)) return text;
  repair_.Push(tokenizer_.TokenBytes(id), &text);
  Strip(&text);
  return text;
}

std::string IncrementalDetokenizer::Finish() {
  std::string text;
  repair_.Finish(&text);
  return text;
}

std::string Decode(const Tokenizer& tokenizer, absl::Span<const TokenId> ids,
                   const DetokenizeOptions& options) {
  IncrementalDetokenizer stream(tokenizer, options);
  std::string text;
  for (const TokenId id : ids) text += stream.Push(id);
  return text + stream.Finish();
}

}  // namespace headgate
