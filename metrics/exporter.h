// A Prometheus page on a port of its own. The page is made anew at every scrape from a snapshot, so
// nothing is counted twice and no role knows Prometheus.
#pragma once

#include <prometheus/metric_family.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace headgate {

using MetricFamilies = std::vector<prometheus::MetricFamily>;

class MetricsExporter final {
 public:
  // Serves http://ADDRESS/metrics. `collect` is called on a scrape's thread; it must be thread safe
  // and outlive the exporter. `address` is host:port. ALREADY_EXISTS when the port is taken,
  // INVALID_ARGUMENT when the address cannot be used.
  static absl::StatusOr<std::unique_ptr<MetricsExporter>> Start(
      const std::string& address, std::function<MetricFamilies()> collect);
  ~MetricsExporter();

  int port() const;  // the one in use, also when ADDRESS asked for port 0

 private:
  struct State;
  explicit MetricsExporter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace headgate
