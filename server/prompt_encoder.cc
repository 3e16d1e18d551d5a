#include "server/prompt_encoder.h"

#include <utility>

#include "base/status_macros.h"
#include "server/errors.h"

namespace headgate {

absl::StatusOr<std::vector<TokenId>> PromptEncoder::EncodeText(const std::string& text) const {
  return tokenizer_->Encode(text, EncodeOptions{});
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::EncodeChat(const v1::ChatMessages& chat) const {
  if (chat_format_ == nullptr) return errors::NoChatTemplate().status;
  ASSIGN_OR_RETURN(const std::vector<RenderedPiece> rendered, chat_format_->Render(chat));
  std::vector<TextPiece> pieces;
  pieces.reserve(rendered.size());
  for (const RenderedPiece& piece : rendered) pieces.push_back({piece.text, piece.from_template});
  // The template writes the special tokens itself.
  return tokenizer_->Encode(pieces, EncodeOptions{.add_special = false});
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(
    const v1::GenerateRequest& request) const {
  if (request.has_text()) return EncodeText(request.text());
  if (request.has_chat()) return EncodeChat(request.chat());
  return std::vector<TokenId>(request.tokens().ids().begin(), request.tokens().ids().end());
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(const v1::ScoreRequest& request) const {
  if (request.has_text()) return EncodeText(request.text());
  return std::vector<TokenId>(request.tokens().ids().begin(), request.tokens().ids().end());
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(
    const v1::TokenizeRequest& request) const {
  if (request.has_chat()) return EncodeChat(request.chat());
  return EncodeText(request.text());
}

}  // namespace headgate
