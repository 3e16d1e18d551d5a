// A running `headgate serve` for integration tests: real processes, real sockets, a small real
// model.
#pragma once

#include <sys/types.h>

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "base/host_port.h"
#include "cli/child_process.h"
#include "headgate/v1/inference.grpc.pb.h"
#include "tests/test_folder.h"

namespace headgate {

// Where a server's metrics may be served, and a scheduler's one port above: each call's is another,
// and no other process that runs tests is given this host.
HostPort OwnMetricsAddress();

class Service {
 public:
  // Starts `headgate serve args...` on a unix socket and waits until it is ready. The status holds
  // the last lines of its log when it is not.
  static absl::StatusOr<std::unique_ptr<Service>> Start(const std::vector<std::string>& args);
  // The same with `--model MODEL` before the others.
  static absl::StatusOr<std::unique_ptr<Service>> Start(const std::string& model,
                                                        std::vector<std::string> args);
  // Stops it when it is not stopped yet. A sanitizer's report of any role fails the test.
  ~Service();

  // SIGTERM, and how it ended. FAILED_PRECONDITION names a process that was left behind.
  absl::Status Stop();

  v1::Inference::Stub& stub() { return *stub_; }
  const std::string& address() const { return address_; }
  absl::StatusOr<v1::GetLoadResponse> Load();
  // Polls Load until every page of every pool is free and nothing runs or waits.
  absl::Status WaitUntilIdle(absl::Duration limit);
  // Polls the health service until it says SERVING.
  absl::Status WaitUntilServing(absl::Duration limit);

  // The Prometheus page of the server (0) or the scheduler (1).
  absl::StatusOr<std::string> Metrics(int which) const;

  pid_t supervisor_pid() const { return serve_->pid(); }
  // Pid of the role process whose command line holds `text`; -1 when there is none now.
  pid_t PidOf(const std::string& text) const;
  std::vector<pid_t> Children() const;
  static int64_t ResidentKib(pid_t pid);
  std::string Log() const;

 private:
  Service();
  std::string SanitizerReports() const;

  const TestFolder folder_;
  const std::string address_;
  const HostPort metrics_address_;
  std::optional<ChildProcess> serve_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Inference::Stub> stub_;
};

// Sum of all samples of metric `name` on a Prometheus page whose labels contain `label`.
double MetricSum(const std::string& page, const std::string& name, const std::string& label = "");

// What one Generate stream said.
struct StreamRecord {
  grpc::Status status;
  std::vector<int32_t> ids;
  std::string text;
  v1::FinishReason finish = v1::FINISH_REASON_UNSPECIFIED;
  v1::Usage usage;
  bool indices_ok = true;  // 0, 1, 2, ... without gap or repeat
};

// Runs one stream to its end, or leaves after `leave_after` tokens (negative: never).
StreamRecord RunStream(v1::Inference::Stub& stub, const v1::GenerateRequest& request,
                       int64_t leave_after = -1);

}  // namespace headgate
