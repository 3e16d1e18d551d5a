// `headgate generate`: flags of the client.
#include <CLI/CLI.hpp>
#include <iostream>
#include <iterator>
#include <limits>
#include <memory>

#include "absl/strings/str_cat.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/generate.h"

namespace headgate {

void AddGenerateCommand(CLI::App& app, Run& run) {
  auto options = std::make_shared<GenerateOptions>();
  CLI::App* generate = app.add_subcommand("generate", "Ask a running server and print the answer");
  generate->footer(absl::StrCat(
      "Examples:\n"
      "  headgate generate \"What is the capital of France?\"\n"
      "  headgate generate --system \"Answer in French.\" --temperature 0.7 --seed 1 - "
      "<question.txt\n"
      "  headgate generate --json --max-tokens 16 \"Hello\"\n",
      kExitCodesHelp));
  generate->add_option("prompt", options->prompt, "the question; - reads it from standard input")
      ->required();
  generate->add_option("--server", options->server, "host:port or unix:path")
      ->capture_default_str();
  generate->add_option("--model-name", options->model, "which model, when there are several");
  generate->add_option("--system", options->system, "system message of the chat");
  generate->add_flag("--raw", options->raw, "send the prompt as it is, without chat template");
  generate->add_option("--max-tokens", options->max_tokens, "most tokens of the answer")
      ->check(CLI::Range(1, std::numeric_limits<int>::max()))
      ->capture_default_str();
  generate->add_option("--temperature", options->temperature, "0 = always the likeliest token")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
  generate->add_option("--top-p", options->top_p, "nucleus sampling, above 0, at most 1");
  generate->add_option("--top-k", options->top_k, "only the k likeliest tokens");
  generate->add_option("--seed", options->seed, "same seed, same answer");
  generate->add_option("--stop", options->stop, "end before this text; may be given again");
  generate->add_flag("--ignore-eos", options->ignore_eos, "go on past the model's end token");
  generate->add_flag("--json", options->json, "one JSON object per message");
  auto timeout_s = std::make_shared<double>(absl::ToDoubleSeconds(options->timeout));
  generate->add_option("--timeout-s", *timeout_s, "seconds for the whole answer")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  generate->callback([options, timeout_s, &run] {
    run = [options, timeout_s] {
      options->timeout = absl::Seconds(*timeout_s);
      if (options->prompt == "-") {
        options->prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
      }
      return RunGenerate(*options, std::cout, std::cerr);
    };
  });
}

}  // namespace headgate
