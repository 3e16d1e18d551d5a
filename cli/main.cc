// The one executable: parses the command line and runs a subcommand. An error is one line on
// stderr.
#include <google/protobuf/stubs/logging.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/logging.h"

namespace {

// "INVALID_ARGUMENT: text" -> "text": the exit code carries the kind.
int Report(const absl::Status& status) {
  if (!status.ok()) {
    std::fprintf(stderr, "headgate: %s\n", std::string(status.message()).c_str());
  }
  return headgate::ExitCodeOf(status);
}

}  // namespace

int main(int argc, char** argv) {
  // An error is told once, in our words.
  setenv("GRPC_VERBOSITY", "NONE", 0);
  // NCCL asks for NVLink multicast, which not every host lends; sums of a step do not need it.
  setenv("NCCL_NVLS_ENABLE", "0", 0);
  google::protobuf::SetLogHandler(nullptr);
  headgate::LogToStderr("headgate");  // stdout is for results
  CLI::App app{
      "Headgate serves LLMs from a KV cache that forgets, per attention head, what is not needed.\n"
      "Start with: headgate serve --model DIR, then: headgate generate \"your question\""};
  app.name("headgate");
  app.footer(headgate::kExitCodesHelp);
  app.require_subcommand(1);
  app.set_version_flag("--version", HEADGATE_VERSION);
  headgate::Run run;
  headgate::AddServeCommand(app, run);
  headgate::AddGenerateCommand(app, run);
  headgate::AddLoadCommand(app, run);
  headgate::AddBenchCommand(app, run);
  headgate::AddServerCommand(app, run);
  headgate::AddSchedulerCommand(app, run);
  headgate::AddWorkerCommand(app, run);
  try {
    app.parse(argc, argv);
  } catch (const CLI::Success& e) {
    return app.exit(e);
  } catch (const CLI::ParseError& e) {
    std::string command = "headgate";
    for (const CLI::App* at = &app; !at->get_subcommands().empty();) {
      at = at->get_subcommands().front();
      command += " " + at->get_name();
    }
    std::fprintf(stderr, "headgate: %s; see %s --help\n", e.what(), command.c_str());
    return headgate::kExitBadUse;
  }
  return Report(run());
}
