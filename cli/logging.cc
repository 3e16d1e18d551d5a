#include "cli/logging.h"

#include <spdlog/sinks/stdout_sinks.h>
#include <spdlog/spdlog.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"

namespace headgate {

void LogToStderr(const std::string& name) {
  auto logger =
      std::make_shared<spdlog::logger>(name, std::make_shared<spdlog::sinks::stderr_sink_mt>());
  logger->set_pattern("%Y-%m-%dT%H:%M:%S.%e %L [%n] %v");
  logger->flush_on(spdlog::level::trace);  // a process may be killed at any time
  spdlog::set_default_logger(std::move(logger));
}

absl::Status StartLogging(const std::string& role, const std::string& level) {
  const spdlog::level::level_enum parsed = spdlog::level::from_str(level);
  if (parsed == spdlog::level::off && level != "off") {
    return absl::InvalidArgumentError(absl::StrCat(
        "--log-level: unknown level '", level, "'; one of trace, debug, info, warn, error, off"));
  }
  LogToStderr(role);
  spdlog::default_logger_raw()->set_level(parsed);
  return absl::OkStatus();
}

}  // namespace headgate
