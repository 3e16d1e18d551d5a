// `headgate server`: the process that clients talk to.
#include <memory>
#include <optional>
#include <utility>
#include <variant>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/logging.h"
#include "cli/role_flags.h"
#include "cli/role_process.h"
#include "cli/status_pipe.h"
#include "cli/stop_signals.h"
#include "metrics/exporter.h"
#include "metrics/server_metrics.h"
#include "server/inference_server.h"
#include "server/template/model_template.h"
#include "server/tokenizer/tokenizer.h"

namespace headgate {
namespace {

struct ServerRoleFlags {
  ServerFlags server;
  LogFlags log;
  ModelFlags model;
  std::string scheduler;
  std::string metrics;
  double drain_s = 4.0;
  int status_fd = -1;
};

absl::StatusOr<InferenceServerOptions> Options(const ServerRoleFlags& flags,
                                               const ModelSource& model) {
  ASSIGN_OR_RETURN(const ModelShape shape, ReadShape(model));
  InferenceServerOptions options;
  options.listen = flags.server.listen;
  options.model.name =
      flags.server.model_name.empty() ? DefaultName(model) : flags.server.model_name;
  options.model.max_positions = shape.max_positions;
  options.model.vocab = shape.vocab;
  options.model.end_tokens = shape.eos;
  options.scheduler.address = flags.scheduler;
  options.scheduler.server_name = absl::StrCat("server@", flags.server.listen);
  options.scheduler.live_limit = static_cast<size_t>(flags.server.streams_limit);
  return options;
}

absl::Status RunServer(const ServerRoleFlags& flags) {
  BlockStopSignals();
  RETURN_IF_ERROR(StartLogging("server", flags.log.level));
  ASSIGN_OR_RETURN(const ModelSource model, flags.model.Source());
  ASSIGN_OR_RETURN(InferenceServerOptions options, Options(flags, model));
  const std::string model_name = options.model.name;
  std::shared_ptr<const Tokenizer> tokenizer;  // none for random weights: token ids alone
  std::optional<ModelTemplate> chat_template;
  if (const auto* folder = std::get_if<ModelFolder>(&model)) {
    ASSIGN_OR_RETURN(tokenizer, Tokenizer::Load(folder->path));
    ASSIGN_OR_RETURN(chat_template, LoadChatTemplate(folder->path));
  }
  auto started = InferenceServer::Start(std::move(options), tokenizer, std::move(chat_template));
  // An address in use is the operator's to mend: relaunching cannot help.
  if (absl::IsUnavailable(started.status())) {
    return absl::AlreadyExistsError(started.status().message());
  }
  ASSIGN_OR_RETURN(const std::unique_ptr<InferenceServer> server, std::move(started));
  std::unique_ptr<MetricsExporter> exporter;
  if (!flags.metrics.empty()) {
    ASSIGN_OR_RETURN(exporter, MetricsExporter::Start(flags.metrics, [&server, &model_name] {
                       return ServerFamilies(server->Stats(), model_name);
                     }));
  }
  const StatusWriter status(flags.status_fd, absl::Milliseconds(50), [&server] {
    StatusBeat beat;
    beat.ready = server->ready() ? 1 : 0;
    return beat;
  });
  WaitForStopSignal();
  server->Drain(absl::Seconds(flags.drain_s));
  return absl::OkStatus();
}

}  // namespace

void AddServerCommand(CLI::App& app, Run& run) {
  auto flags = std::make_shared<ServerRoleFlags>();
  CLI::App* server = app.add_subcommand("server", "Run one server (a role of `serve`, alone)");
  flags->model.Add(*server);
  server->add_option("--scheduler", flags->scheduler, "the scheduler: host:port or unix:path")
      ->required();
  flags->server.Add(*server);
  server->add_option("--metrics-listen", flags->metrics,
                     absl::StrCat("host:port of the Prometheus page. ", kMetricsHelp));
  server->add_option("--drain-s", flags->drain_s, "on SIGTERM: seconds for live streams to finish")
      ->check(CLI::Range(0.0, 3600.0))
      ->capture_default_str();
  server->add_option("--status-fd", flags->status_fd)->group("");
  flags->log.Add(*server);
  server->callback([flags, &run] {
    run = [flags] { return EndWithCause(flags->status_fd, RunServer(*flags)); };
  });
}

}  // namespace headgate
