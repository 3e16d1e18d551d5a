// `headgate load`: one line about memory pressure and queue of a running server.
#include <google/protobuf/util/json_util.h>
#include <grpcpp/grpcpp.h>

#include <chrono>
#include <cstdio>
#include <memory>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/exit_code.h"
#include "headgate/v1/inference.grpc.pb.h"
#include "proto/link.h"

namespace headgate {
namespace {

struct LoadFlags {
  std::string server = "127.0.0.1:50051";
  bool json = false;
};

constexpr double kBytesPerMib = 1024.0 * 1024.0;

void PrintPool(const v1::PoolLoad& pool) {
  const uint32_t held = pool.pages_full() + pool.pages_streaming() + pool.pages_gated();
  const double page_mib = static_cast<double>(pool.page_bytes()) / kBytesPerMib;
  std::printf(
      "group %d rank %d: %u of %u pages held (full %u, streaming %u, gated %u), %u pending; "
      "%.1f of %.1f MiB; peak %u pages, %.1f MiB\n",
      pool.group(), pool.rank(), held, pool.pages_total(), pool.pages_full(),
      pool.pages_streaming(), pool.pages_gated(), pool.pages_pending_free(), held * page_mib,
      pool.pages_total() * page_mib, pool.pages_peak(), pool.pages_peak() * page_mib);
}

absl::Status PrintLoad(const LoadFlags& flags) {
  RETURN_IF_ERROR(CheckAddress(flags.server));
  const auto channel = grpc::CreateChannel(flags.server, grpc::InsecureChannelCredentials());
  const auto stub = v1::Inference::NewStub(channel);
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(5));
  v1::GetLoadResponse load;
  if (const grpc::Status status = stub->GetLoad(&context, {}, &load); !status.ok()) {
    const bool unreachable = status.error_code() == grpc::StatusCode::UNAVAILABLE;
    return absl::UnavailableError(absl::StrCat(
        "cannot ask ", flags.server, ": ", unreachable ? "nobody answers" : status.error_message(),
        "; is `headgate serve` running there?"));
  }
  if (flags.json) {
    std::string json;
    google::protobuf::util::JsonPrintOptions options;
    options.always_print_primitive_fields = true;
    options.preserve_proto_field_names = true;
    (void)google::protobuf::util::MessageToJsonString(load, &json, options);
    std::printf("%s\n", json.c_str());
    return absl::OkStatus();
  }
  std::printf("running %lu, waiting %lu of %lu, groups ready %lu of %lu, preemptions %lu\n",
              load.running(), load.waiting(), load.waiting_limit(), load.groups_ready(),
              load.groups_total(), load.preemptions());
  for (const v1::PoolLoad& pool : load.pools()) PrintPool(pool);
  return absl::OkStatus();
}

}  // namespace

void AddLoadCommand(CLI::App& app, Run& run) {
  auto flags = std::make_shared<LoadFlags>();
  CLI::App* load = app.add_subcommand("load", "Print queue and page use of a running server");
  load->footer(
      absl::StrCat("Examples:\n"
                   "  headgate load\n"
                   "  headgate load --json --server unix:/run/headgate/api.sock\n",
                   kExitCodesHelp));
  load->add_option("--server", flags->server, "host:port or unix:path")->capture_default_str();
  load->add_flag("--json", flags->json, "one JSON object");
  load->callback([flags, &run] { run = [flags] { return PrintLoad(*flags); }; });
}

}  // namespace headgate
