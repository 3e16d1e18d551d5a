// ServerStats as Prometheus families; docs/metrics.md lists them. Pure; any thread.
#pragma once

#include <string>

#include "base/stats.h"
#include "metrics/exporter.h"

namespace headgate {

MetricFamilies ServerFamilies(const ServerStats& stats, const std::string& model_name);

}  // namespace headgate
