#include "metrics/family_list.h"

#include <prometheus/client_metric.h>

#include <algorithm>
#include <limits>

namespace headgate {

prometheus::ClientMetric& FamilyList::Sample(const std::string& name, const std::string& help,
                                             prometheus::MetricType type, const Labels& labels) {
  auto family = std::find_if(families_.begin(), families_.end(),
                             [&](const auto& known) { return known.name == name; });
  if (family == families_.end()) {
    prometheus::MetricFamily made;
    made.name = name;
    made.help = help;
    made.type = type;
    family = families_.insert(families_.end(), std::move(made));
  }
  prometheus::ClientMetric metric;
  for (const auto& [key, value] : common_) metric.label.push_back({key, value});
  for (const auto& [key, value] : labels) metric.label.push_back({key, value});
  family->metric.push_back(std::move(metric));
  return family->metric.back();
}

void FamilyList::Gauge(const std::string& name, const std::string& help, double value,
                       Labels labels) {
  Sample(name, help, prometheus::MetricType::Gauge, labels).gauge.value = value;
}

void FamilyList::Counter(const std::string& name, const std::string& help, double value,
                         Labels labels) {
  Sample(name + "_total", help, prometheus::MetricType::Counter, labels).counter.value = value;
}

void FamilyList::AddHistogram(const std::string& name, const std::string& help,
                              const Histogram& histogram, Labels labels) {
  auto& out = Sample(name, help, prometheus::MetricType::Histogram, labels).histogram;
  uint64_t below = 0;
  for (size_t i = 0; i < histogram.counts.size(); ++i) {
    below += histogram.counts[i];
    const double bound =
        i < histogram.bounds.size() ? histogram.bounds[i] : std::numeric_limits<double>::infinity();
    out.bucket.push_back({below, bound});
  }
  out.sample_count = below;
  out.sample_sum = histogram.sum;
}

void AddQueues(const std::vector<QueueStats>& queues, FamilyList& list,
               const FamilyList::Labels& where) {
  for (const QueueStats& queue : queues) {
    FamilyList::Labels labels = where;
    labels.emplace_back("queue", queue.name);
    list.Gauge("headgate_queue_size", "Entries of a bounded queue, table or buffer",
               static_cast<double>(queue.size), labels);
    list.Gauge("headgate_queue_limit", "Most entries that it takes",
               static_cast<double>(queue.limit), labels);
  }
}

}  // namespace headgate
