// How a model wants a conversation written: its chat template and the special tokens the template
// may name. Read once from the Hugging Face folder. Immutable: any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "headgate/v1/inference.pb.h"
#include "server/template/chat_template.h"

namespace headgate {

class ChatFormat final {
 public:
  // `special_tokens` is an object such as {"bos_token": "<s>"}; unknown keys are not used.
  ChatFormat(ChatTemplate chat_template, nlohmann::ordered_json special_tokens)
      : template_(std::move(chat_template)), special_tokens_(std::move(special_tokens)) {}

  // From chat_template.jinja, else "chat_template" of tokenizer_config.json. Null when the model
  // has none; INVALID_ARGUMENT names the file that is not understood.
  static absl::StatusOr<std::shared_ptr<const ChatFormat>> Load(const std::string& model_dir);

  // The conversation, ready for an answer. INVALID_ARGUMENT when the template refuses it.
  absl::StatusOr<std::vector<RenderedPiece>> Render(const v1::ChatMessages& chat) const;

 private:
  ChatTemplate template_;
  nlohmann::ordered_json special_tokens_;
};

}  // namespace headgate
