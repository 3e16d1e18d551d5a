// Collects metric families for one page: every sample carries the page's common labels. Not thread
// safe; one per scrape.
#pragma once

#include <prometheus/metric_family.h>

#include <string>
#include <utility>
#include <vector>

#include "base/stats.h"

namespace headgate {

class FamilyList {
 public:
  using Labels = std::vector<std::pair<std::string, std::string>>;

  explicit FamilyList(Labels common) : common_(std::move(common)) {}

  // Names end in a unit; counters in _total (added here). Samples of one name are one family.
  void Gauge(const std::string& name, const std::string& help, double value, Labels labels = {});
  void Counter(const std::string& name, const std::string& help, double value, Labels labels = {});
  void AddHistogram(const std::string& name, const std::string& help, const Histogram& histogram,
                    Labels labels = {});

  std::vector<prometheus::MetricFamily> Take() { return std::move(families_); }

 private:
  prometheus::ClientMetric& Sample(const std::string& name, const std::string& help,
                                   prometheus::MetricType type, const Labels& labels);

  const Labels common_;
  std::vector<prometheus::MetricFamily> families_;
};

// headgate_queue_size and headgate_queue_limit of every bounded queue, table and buffer. `where`
// comes before the label that names the queue.
void AddQueues(const std::vector<QueueStats>& queues, FamilyList& list,
               const FamilyList::Labels& where = {});

}  // namespace headgate
