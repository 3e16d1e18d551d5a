#include "tests/integration/service.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/time/clock.h"
#include "base/status_macros.h"
#include "tests/http_get.h"
#include "tests/test_files.h"

namespace headgate {
namespace {

namespace fs = std::filesystem;

constexpr char kReportPrefix[] = "sanitizer";
constexpr size_t kReportsBytesMax = 20'000;

// Shell assignments by which every role built with ASan or UBSan writes its reports to files of
// `dir`. TSan's go where the whole run's go: tests/sanitizer/tsan_reports.py judges them.
std::string ReportsTo(const std::string& dir) {
  std::string assignments;
  for (const char* const options : {"ASAN_OPTIONS", "UBSAN_OPTIONS"}) {
    absl::StrAppend(&assignments, "export ", options, "=\"$", options, ":log_path=", dir, "/",
                    kReportPrefix, "\"; ");
  }
  return assignments;
}

}  // namespace

HostPort OwnMetricsAddress() {
  static int given = 0;
  const pid_t pid = getpid();  // at most 2^22
  return {absl::StrCat("127.", 64 + (pid >> 16), ".", pid >> 8 & 255, ".", pid & 255),
          20000 + 2 * given++};
}

Service::Service()
    : address_("unix:" + folder_.At("api.sock")), metrics_address_(OwnMetricsAddress()) {
  channel_ = grpc::CreateChannel(address_, grpc::InsecureChannelCredentials());
  stub_ = v1::Inference::NewStub(channel_);
}

absl::StatusOr<std::unique_ptr<Service>> Service::Start(const std::string& model,
                                                        std::vector<std::string> args) {
  args.insert(args.begin(), absl::StrCat("--model=", model));
  return Start(args);
}

absl::StatusOr<std::unique_ptr<Service>> Service::Start(const std::vector<std::string>& args) {
  std::unique_ptr<Service> service(new Service());
  const std::string& dir = service->folder_.path();
  // A shell keeps stdout and stderr in files; exec keeps the pid.
  std::string command =
      absl::StrCat(ReportsTo(dir), "exec ", HEADGATE_BINARY, " serve --listen=", service->address_,
                   " --run-dir=", dir, " --metrics-listen=", service->metrics_address_.host, ":",
                   service->metrics_address_.port);
  for (const std::string& arg : args) absl::StrAppend(&command, " ", arg);
  absl::StrAppend(&command, " >", dir, "/out 2>", dir, "/log");
  ASSIGN_OR_RETURN(service->serve_, ChildProcess::Spawn({"/bin/sh", "-c", command}, -1));
  const absl::Time limit = absl::Now() + absl::Seconds(120);
  while (!absl::StrContains(ReadFile(service->folder_.At("out")), "ready")) {
    if (std::optional<ChildExit> exit = service->serve_->TryReap()) {
      return absl::UnavailableError(absl::StrCat(exit->ToString(), "\n", service->Log()));
    }
    if (absl::Now() > limit) return absl::DeadlineExceededError(service->Log());
    absl::SleepFor(absl::Milliseconds(20));
  }
  return service;
}

Service::~Service() {
  if (serve_ && serve_->running()) Stop().IgnoreError();
  EXPECT_EQ(SanitizerReports(), "");
}

absl::Status Service::Stop() {
  const std::vector<pid_t> children = Children();
  serve_->Signal(SIGTERM);
  std::optional<ChildExit> exit;
  const absl::Time limit = absl::Now() + absl::Seconds(30);
  while (!(exit = serve_->TryReap()) && absl::Now() < limit) absl::SleepFor(absl::Milliseconds(5));
  if (!exit) return absl::DeadlineExceededError("serve did not stop in 30 s");
  for (const pid_t pid : children) {
    if (kill(pid, 0) == 0) {
      return absl::FailedPreconditionError(absl::StrCat("process ", pid, " was left behind"));
    }
  }
  if (exit->code != 0 || exit->signal != 0) {
    return absl::InternalError(absl::StrCat("serve: ", exit->ToString(), "\n", Log()));
  }
  return absl::OkStatus();
}

absl::StatusOr<v1::GetLoadResponse> Service::Load() {
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(10));
  v1::GetLoadResponse load;
  const grpc::Status status = stub_->GetLoad(&context, {}, &load);
  if (!status.ok()) return absl::UnavailableError(status.error_message());
  return load;
}

absl::Status Service::WaitUntilIdle(absl::Duration limit) {
  const absl::Time end = absl::Now() + limit;
  absl::SleepFor(absl::Milliseconds(250));  // the scheduler tells its load every 100 ms
  std::string last;
  while (absl::Now() < end) {
    absl::StatusOr<v1::GetLoadResponse> load = Load();
    if (load.ok()) {
      bool idle = load->running() == 0 && load->waiting() == 0 && load->pools_size() > 0;
      for (const v1::PoolLoad& pool : load->pools()) {
        if (pool.pages_free() != pool.pages_total()) idle = false;
      }
      if (idle) return absl::OkStatus();
      last = load->ShortDebugString();
    }
    absl::SleepFor(absl::Milliseconds(20));
  }
  return absl::DeadlineExceededError(absl::StrCat("not idle: ", last));
}

absl::Status Service::WaitUntilServing(absl::Duration limit) {
  const absl::Time end = absl::Now() + limit;
  while (absl::Now() < end) {
    absl::StatusOr<v1::GetLoadResponse> load = Load();
    if (load.ok() && load->groups_total() > 0 && load->groups_ready() == load->groups_total()) {
      return absl::OkStatus();
    }
    absl::SleepFor(absl::Milliseconds(10));
  }
  return absl::DeadlineExceededError("not serving");
}

absl::StatusOr<std::string> Service::Metrics(int which) const {
  return HttpGet(metrics_address_.host, metrics_address_.port + which, "/metrics");
}

std::vector<pid_t> Service::Children() const {
  std::vector<pid_t> children;
  std::ifstream in(absl::StrCat("/proc/", serve_->pid(), "/task/", serve_->pid(), "/children"));
  for (pid_t pid = 0; in >> pid;) children.push_back(pid);
  return children;
}

pid_t Service::PidOf(const std::string& text) const {
  for (const pid_t pid : Children()) {
    std::string line = ReadFile(absl::StrCat("/proc/", pid, "/cmdline"));
    std::replace(line.begin(), line.end(), '\0', ' ');
    if (absl::StrContains(line, text)) return pid;
  }
  return -1;
}

int64_t Service::ResidentKib(pid_t pid) {
  std::ifstream in(absl::StrCat("/proc/", pid, "/status"));
  for (std::string line; std::getline(in, line);) {
    if (absl::StartsWith(line, "VmRSS:")) return std::stoll(line.substr(6));
  }
  return 0;
}

std::string Service::Log() const {
  const std::string log = ReadFile(folder_.At("log"));
  return log.size() > 4000 ? log.substr(log.size() - 4000) : log;
}

std::string Service::SanitizerReports() const {
  std::string reports;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder_.path())) {
    if (absl::StartsWith(entry.path().filename().string(), kReportPrefix)) {
      reports += ReadFile(entry.path().string());
    }
  }
  if (reports.size() > kReportsBytesMax) reports.resize(kReportsBytesMax);
  return reports;
}

double MetricSum(const std::string& page, const std::string& name, const std::string& label) {
  double sum = 0.0;
  for (const absl::string_view line : absl::StrSplit(page, '\n')) {
    if (!absl::StartsWith(line, name)) continue;
    const char next = line.size() > name.size() ? line[name.size()] : ' ';
    if ((next != '{' && next != ' ') || !absl::StrContains(line, label)) continue;
    sum += std::stod(std::string(line.substr(line.rfind(' ') + 1)));
  }
  return sum;
}

StreamRecord RunStream(v1::Inference::Stub& stub, const v1::GenerateRequest& request,
                       int64_t leave_after) {
  StreamRecord record;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
  auto reader = stub.Generate(&context, request);
  if (leave_after == 0) context.TryCancel();
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    for (const v1::GeneratedToken& token : response.tokens()) {
      if (token.index() != static_cast<int64_t>(record.ids.size())) record.indices_ok = false;
      record.ids.push_back(token.token_id());
    }
    record.text += response.text();
    if (response.finish_reason() != v1::FINISH_REASON_UNSPECIFIED) {
      record.finish = response.finish_reason();
      record.usage = response.usage();
    }
    if (leave_after > 0 && static_cast<int64_t>(record.ids.size()) >= leave_after) {
      context.TryCancel();
    }
  }
  record.status = reader->Finish();
  return record;
}

}  // namespace headgate
