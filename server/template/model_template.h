// Reads the chat template and the special token texts of a model folder (Hugging Face layout).
#pragma once

#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "server/template/chat_template.h"

namespace headgate {

struct ModelTemplate {
  ChatTemplate chat_template;
  std::string source;     // of the template
  std::string bos_token;  // empty when the model has none
  std::string eos_token;
};

// Looks at chat_template.jinja, then at tokenizer_config.json's chat_template: a string, or a list
// of {name, template} of which "default" is taken. nullopt: the model has no chat template.
// NOT_FOUND without tokenizer_config.json, INVALID_ARGUMENT for files that cannot be understood,
// else as ParseStrictJson.
absl::StatusOr<std::optional<ModelTemplate>> LoadChatTemplate(const std::string& model_dir,
                                                              const TemplateLimits& limits = {});

}  // namespace headgate
