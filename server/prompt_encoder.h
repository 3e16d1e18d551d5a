// From what a request gives (text, chat or token ids) to the model's tokens. Immutable: any thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/ids.h"
#include "headgate/v1/inference.pb.h"
#include "server/template/model_template.h"
#include "server/tokenizer/tokenizer.h"

namespace headgate {

class PromptEncoder final {
 public:
  // `tokenizer` null: token ids alone are taken. `chat_template` nullopt = the model has none.
  PromptEncoder(std::shared_ptr<const Tokenizer> tokenizer,
                std::optional<ModelTemplate> chat_template)
      : tokenizer_(std::move(tokenizer)), chat_template_(std::move(chat_template)) {}

  // INVALID_ARGUMENT for what the client can change. REQUIRES: Validate passed.
  absl::StatusOr<std::vector<TokenId>> Encode(const v1::GenerateRequest& request) const;
  absl::StatusOr<std::vector<TokenId>> Encode(const v1::ScoreRequest& request) const;
  absl::StatusOr<std::vector<TokenId>> Encode(const v1::TokenizeRequest& request) const;

  const Tokenizer* tokenizer() const { return tokenizer_.get(); }  // null: none
  bool has_chat_template() const { return chat_template_.has_value(); }

 private:
  absl::StatusOr<std::vector<TokenId>> EncodeText(const std::string& text) const;
  absl::StatusOr<std::vector<TokenId>> EncodeChat(const v1::ChatMessages& chat) const;
  // The conversation as text, ready for an answer.
  absl::StatusOr<std::vector<RenderedPiece>> RenderChat(const v1::ChatMessages& chat) const;

  std::shared_ptr<const Tokenizer> tokenizer_;
  std::optional<ModelTemplate> chat_template_;
};

}  // namespace headgate
