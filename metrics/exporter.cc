#include "metrics/exporter.h"

#include <prometheus/collectable.h>
#include <prometheus/exposer.h>

#include <utility>

#include "absl/strings/str_cat.h"

namespace headgate {
namespace {

constexpr size_t kThreads = 1;  // one scrape at a time is plenty

class Page final : public prometheus::Collectable {
 public:
  explicit Page(std::function<MetricFamilies()> collect) : collect_(std::move(collect)) {}
  MetricFamilies Collect() const override { return collect_(); }

 private:
  const std::function<MetricFamilies()> collect_;
};

}  // namespace

struct MetricsExporter::State {
  std::shared_ptr<Page> page;
  std::unique_ptr<prometheus::Exposer> exposer;
};

MetricsExporter::MetricsExporter(std::unique_ptr<State> state) : state_(std::move(state)) {}

MetricsExporter::~MetricsExporter() = default;

absl::StatusOr<std::unique_ptr<MetricsExporter>> MetricsExporter::Start(
    const std::string& address, std::function<MetricFamilies()> collect) {
  if (address.rfind(':') == std::string::npos) {
    return absl::InvalidArgumentError(
        absl::StrCat("metrics address '", address, "': give host:port"));
  }
  auto state = std::make_unique<State>();
  state->page = std::make_shared<Page>(std::move(collect));
  try {
    state->exposer = std::make_unique<prometheus::Exposer>(address, kThreads);
  } catch (const std::exception&) {
    return absl::AlreadyExistsError(
        absl::StrCat("cannot serve metrics on ", address, "; is the port taken? choose another"));
  }
  state->exposer->RegisterCollectable(state->page, "/metrics");
  return std::unique_ptr<MetricsExporter>(new MetricsExporter(std::move(state)));
}

int MetricsExporter::port() const { return state_->exposer->GetListeningPorts().front(); }

}  // namespace headgate
