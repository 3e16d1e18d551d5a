#include "base/host_port.h"

#include <charconv>

namespace headgate {

std::optional<HostPort> ParseHostPort(std::string_view address) {
  const size_t colon = address.rfind(':');
  if (colon == std::string_view::npos) return std::nullopt;
  unsigned port = 0;
  const char* const end = address.data() + address.size();
  const auto [stop, error] = std::from_chars(address.data() + colon + 1, end, port);
  if (error != std::errc() || stop != end || port > 65535) return std::nullopt;
  return HostPort{std::string(address.substr(0, colon)), static_cast<int>(port)};
}

}  // namespace headgate
