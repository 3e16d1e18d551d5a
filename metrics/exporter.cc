#include "metrics/exporter.h"

#include <netdb.h>
#include <prometheus/collectable.h>
#include <prometheus/exposer.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <optional>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/host_port.h"

namespace headgate {
namespace {

constexpr size_t kThreads = 1;  // one scrape at a time is plenty

constexpr std::chrono::milliseconds kKnockEvery{5};

// Opens a connection and drops it.
void Knock(const std::string& host, int port) {
  addrinfo hints = {};
  hints.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  const bool any = host.empty() || host == "localhost";
  if (getaddrinfo(any ? "127.0.0.1" : host.c_str(), std::to_string(port).c_str(), &hints, &found) !=
      0) {
    return;  // it stops all the same, only later
  }
  const int fd = socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd >= 0) {
    (void)connect(fd, found->ai_addr, found->ai_addrlen);
    close(fd);
  }
  freeaddrinfo(found);
}

class Page final : public prometheus::Collectable {
 public:
  explicit Page(std::function<MetricFamilies()> collect) : collect_(std::move(collect)) {}
  MetricFamilies Collect() const override { return collect_(); }

 private:
  const std::function<MetricFamilies()> collect_;
};

}  // namespace

struct MetricsExporter::State {
  std::string host;
  std::shared_ptr<prometheus::Collectable> page;
  std::unique_ptr<prometheus::Exposer> exposer;
};

MetricsExporter::MetricsExporter(std::unique_ptr<State> state) : state_(std::move(state)) {}

// CivetWeb looks at its stop flag between connections, else every 2 s: connections wake it.
MetricsExporter::~MetricsExporter() {
  const int listening = port();
  std::atomic<bool> stopped = false;
  std::thread stop([&] {
    state_->exposer.reset();
    stopped = true;
  });
  while (!stopped) {
    Knock(state_->host, listening);
    std::this_thread::sleep_for(kKnockEvery);
  }
  stop.join();
}

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(
    const std::string& address, std::function<MetricFamilies()> collect) {
  std::optional<HostPort> tcp = ParseHostPort(address);
  if (!tcp.has_value()) {
    return absl::InvalidArgumentError(
        absl::StrCat("metrics address '", address, "': give host:port (port 0 to 65535)"));
  }
  auto state = std::make_unique<State>();
  state->host = std::move(tcp->host);
  state->page = std::make_shared<Page>(std::move(collect));
  try {
    state->exposer = std::make_unique<prometheus::Exposer>(address, kThreads);
  } catch (const std::exception&) {
    return absl::AlreadyExistsError(
        absl::StrCat("cannot serve metrics on ", address,
                     "; is the port taken? Give another with --metrics-listen"));
  }
  state->exposer->RegisterCollectable(state->page, "/metrics");
  return std::unique_ptr<MetricsExporter>(new MetricsExporter(std::move(state)));
}

int MetricsExporter::port() const { return state_->exposer->GetListeningPorts().front(); }

}  // namespace headgate
