// Scrapes a real endpoint and reads the text format strictly: types, labels, values, no duplicates.
#include "metrics/exporter.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <map>
#include <regex>
#include <sstream>
#include <thread>

#include "metrics/scheduler_metrics.h"
#include "metrics/server_metrics.h"
#include "tests/http_get.h"

namespace headgate {
namespace {

using ::testing::HasSubstr;

std::string Get(int port, const std::string& path) {
  const auto answer = HttpGet("127.0.0.1", port, path);
  EXPECT_TRUE(answer.ok()) << answer.status();
  return answer.value_or("");
}

struct Page {
  std::map<std::string, std::string> types;
  std::map<std::string, double> series;  // "name{labels}" -> value

  double Value(const std::string& key) const {
    const auto it = series.find(key);
    EXPECT_NE(it, series.end()) << key;
    return it == series.end() ? -1.0 : it->second;
  }
};

void ExpectCountersAreTotals(const Page& page) {
  for (const auto& [name, type] : page.types) {
    const bool total = name.size() > 6 && name.substr(name.size() - 6) == "_total";
    EXPECT_TRUE(total || type != "counter") << name;
  }
}

// The text exposition format 0.0.4, as much of it as we may write.
Page ReadPage(const std::string& answer) {
  Page page;
  const size_t body = answer.find("\r\n\r\n");
  EXPECT_NE(body, std::string::npos);
  std::istringstream lines(answer.substr(body + 4));
  static const std::regex kSeries(
      R"re(^([a-z_][a-z0-9_]*)(\{[a-z_]+="[^"\\]*"(,[a-z_]+="[^"\\]*")*,?\})? (\S+)$)re");
  for (std::string line; std::getline(lines, line);) {
    if (line.find("headgate_") == std::string::npos) continue;  // the library's own series
    if (line.rfind("# HELP ", 0) == 0) continue;
    if (line.rfind("# TYPE ", 0) == 0) {
      std::istringstream words(line.substr(7));
      std::string name;
      std::string type;
      words >> name >> type;
      EXPECT_TRUE(page.types.emplace(name, type).second) << "two families " << name;
      continue;
    }
    std::smatch match;
    const bool matched = std::regex_match(line, match, kSeries);
    EXPECT_TRUE(matched) << line;
    if (!matched) continue;
    std::string family = match[1];
    if (page.types.count(family) == 0) {
      for (const char* suffix : {"_bucket", "_sum", "_count"}) {
        const size_t at = family.rfind(suffix);
        if (at != std::string::npos && at + std::string(suffix).size() == family.size()) {
          family = family.substr(0, at);
          EXPECT_EQ(page.types[family], "histogram") << line;
          break;
        }
      }
    }
    EXPECT_EQ(page.types.count(family), 1u) << "no TYPE: " << line;
    EXPECT_THAT(line, HasSubstr("model_name=\"tiny\""));
    const std::string key = match[1].str() + match[2].str();
    EXPECT_TRUE(page.series.emplace(key, std::stod(match[4])).second) << "twice: " << key;
  }
  return page;
}

SchedulerStats SomeScheduler() {
  SchedulerStats stats;
  stats.requests_waiting = 3;
  stats.refused_full = 4;
  stats.step_seconds_decode = Histogram({0.01, 0.1});
  stats.step_seconds_decode.Add(0.05);
  stats.step_seconds_decode.Add(5.0);
  stats.step_times.attention = absl::Milliseconds(250);
  stats.step_times.device = DeviceTimes{absl::Milliseconds(500), absl::Milliseconds(125)};
  for (int rank = 0; rank < 2; ++rank) {
    RankStats rank_stats;
    rank_stats.rank = rank;
    rank_stats.pages.total = 10;
    rank_stats.pages.free = 3;
    rank_stats.pages.referenced_full = 4;
    rank_stats.pages.referenced_streaming = 2;
    rank_stats.pages.pending_free = 1;
    rank_stats.pages.page_bytes = 4096;
    rank_stats.queues = {{"worker_inbox", 1, 256}};
    stats.ranks.push_back(rank_stats);
  }
  stats.queues = {{"inbox", 1, 100}};
  return stats;
}

TEST(Exporter, ServesTheSchedulersPage) {
  auto exporter = MetricsExporter::Start("127.0.0.1:0",
                                         [] { return SchedulerFamilies(SomeScheduler(), "tiny"); });
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  const std::string answer = Get((*exporter)->port(), "/metrics");
  EXPECT_THAT(answer, HasSubstr(" 200 "));
  const Page page = ReadPage(answer);
  EXPECT_GT(page.series.size(), 50u);
  EXPECT_EQ(page.Value("headgate_requests_waiting{model_name=\"tiny\"}"), 3);
  EXPECT_EQ(page.Value("headgate_requests_refused_total{model_name=\"tiny\",reason=\"full\"}"), 4);
  EXPECT_EQ(page.Value("headgate_kv_held_bytes{model_name=\"tiny\",group=\"0\",rank=\"0\"}"),
            6 * 4096);
  EXPECT_EQ(page.Value("headgate_kv_pages{model_name=\"tiny\",group=\"0\",rank=\"1\","
                       "state=\"referenced\",head_class=\"streaming\"}"),
            2);
  EXPECT_EQ(page.Value("headgate_step_seconds_bucket{model_name=\"tiny\",kind=\"decode\","
                       "le=\"0.1\"}"),
            1);
  EXPECT_EQ(page.Value("headgate_step_seconds_bucket{model_name=\"tiny\",kind=\"decode\","
                       "le=\"+Inf\"}"),
            2);
  EXPECT_EQ(page.Value("headgate_step_seconds_count{model_name=\"tiny\",kind=\"decode\"}"), 2);
  EXPECT_EQ(
      page.Value("headgate_step_phase_seconds_total{model_name=\"tiny\",phase=\"attention\"}"),
      0.25);
  EXPECT_EQ(page.Value("headgate_step_phase_seconds_total{model_name=\"tiny\",phase=\"device\"}"),
            0.5);
  EXPECT_EQ(
      page.Value("headgate_step_phase_seconds_total{model_name=\"tiny\",phase=\"device_idle\"}"),
      0.125);
  EXPECT_EQ(page.Value("headgate_queue_limit{model_name=\"tiny\",queue=\"inbox\"}"), 100);
  EXPECT_EQ(page.Value("headgate_queue_limit{model_name=\"tiny\",group=\"0\",rank=\"1\","
                       "queue=\"worker_inbox\"}"),
            256);
  EXPECT_EQ(page.types.at("headgate_step_seconds"), "histogram");
  EXPECT_EQ(page.types.at("headgate_kv_pages"), "gauge");
  ExpectCountersAreTotals(page);
}

TEST(Exporter, ADeviceWithoutAClockHasNoTimes) {
  SchedulerStats stats = SomeScheduler();
  const auto phases = [&stats] {
    std::vector<std::string> names;
    for (const auto& family : SchedulerFamilies(stats, "tiny")) {
      if (family.name != "headgate_step_phase_seconds_total") continue;
      for (const auto& metric : family.metric) names.push_back(metric.label.back().value);
    }
    return names;
  };
  EXPECT_THAT(phases(), testing::Contains("device"));
  EXPECT_THAT(phases(), testing::Contains("device_idle"));
  stats.step_times.device = std::nullopt;
  EXPECT_THAT(phases(), testing::ElementsAre("attention", "dense", "collective", "sample"));
}

TEST(Exporter, ServesTheServersPage) {
  auto exporter = MetricsExporter::Start("127.0.0.1:0", [] {
    ServerStats stats;
    stats.requests_ok = 5;
    stats.ttft_seconds = Histogram({0.1});
    stats.ttft_seconds.Add(0.05);
    stats.queues = {{"live_requests", 2, 1024}};
    return ServerFamilies(stats, "tiny");
  });
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  const Page page = ReadPage(Get((*exporter)->port(), "/metrics"));
  EXPECT_EQ(page.Value("headgate_requests_ended_total{model_name=\"tiny\",result=\"ok\"}"), 5);
  EXPECT_EQ(page.Value("headgate_ttft_seconds_bucket{model_name=\"tiny\",le=\"0.1\"}"), 1);
  EXPECT_EQ(page.Value("headgate_queue_size{model_name=\"tiny\",queue=\"live_requests\"}"), 2);
  ExpectCountersAreTotals(page);
}

TEST(Exporter, StopsAtOnce) {
  auto exporter = MetricsExporter::Start("127.0.0.1:0", [] { return MetricFamilies(); });
  ASSERT_TRUE(exporter.ok()) << exporter.status();
  std::this_thread::sleep_for(std::chrono::milliseconds(100));  // its threads wait by now
  const auto begin = std::chrono::steady_clock::now();
  exporter->reset();
  EXPECT_LT(std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(500));
}

TEST(Exporter, AnAddressHasAPort) {
  for (const char* address : {"", "127.0.0.1", "127.0.0.1:x", "127.0.0.1:65536"}) {
    const auto exporter = MetricsExporter::Start(address, [] { return MetricFamilies(); });
    EXPECT_EQ(exporter.status().code(), absl::StatusCode::kInvalidArgument) << address;
  }
}

TEST(Exporter, ATakenPortIsAnError) {
  const auto nothing = [] { return MetricFamilies(); };
  auto first = MetricsExporter::Start("127.0.0.1:0", nothing);
  ASSERT_TRUE(first.ok());
  const std::string address = "127.0.0.1:" + std::to_string((*first)->port());
  const absl::Status taken = MetricsExporter::Start(address, nothing).status();
  EXPECT_EQ(taken.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(std::string(taken.message()), HasSubstr(address + "; is the port taken? Give"));
}

}  // namespace
}  // namespace headgate
