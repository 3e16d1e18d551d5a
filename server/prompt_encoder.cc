#include "server/prompt_encoder.h"

#include "base/clock.h"
#include "base/status_macros.h"
#include "server/errors.h"

namespace headgate {

absl::StatusOr<std::vector<TokenId>> PromptEncoder::EncodeText(const std::string& text) const {
  if (tokenizer_ == nullptr) return errors::NoTokenizer("text").status;
  return tokenizer_->Encode(text, EncodeOptions{});
}

absl::StatusOr<std::vector<RenderedPiece>> PromptEncoder::RenderChat(
    const v1::ChatMessages& chat) const {
  nlohmann::ordered_json context = nlohmann::ordered_json::object();
  nlohmann::ordered_json& messages = context["messages"] = nlohmann::ordered_json::array();
  for (const v1::ChatMessage& message : chat.messages()) {
    messages.push_back({{"role", message.role()}, {"content", message.content()}});
  }
  context["add_generation_prompt"] = true;
  context["bos_token"] = chat_template_->bos_token;
  context["eos_token"] = chat_template_->eos_token;
  auto pieces = chat_template_->chat_template.Render(context, RealClock());
  if (pieces.ok()) return pieces;
  // The template's own message may quote the conversation.
  return absl::InvalidArgumentError("chat: the model's template refuses these messages");
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::EncodeChat(const v1::ChatMessages& chat) const {
  if (tokenizer_ == nullptr) return errors::NoTokenizer("chat").status;
  if (!chat_template_.has_value()) return errors::NoChatTemplate().status;
  ASSIGN_OR_RETURN(const std::vector<RenderedPiece> rendered, RenderChat(chat));
  std::vector<TextPiece> pieces;
  pieces.reserve(rendered.size());
  for (const RenderedPiece& piece : rendered) pieces.push_back({piece.text, piece.from_template});
  // The template writes the special tokens itself.
  return tokenizer_->Encode(pieces, EncodeOptions{.add_special = false});
}

absl::StatusOr<std::vector<TokenId>> PromptEncoder::Encode(
    const v1::GenerateRequest& request) const {
  if (tokenizer_ == nullptr && request.stop_size() > 0) return errors::NoTokenizer("stop").status;
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
