// "host:port", the form of every TCP address that a user gives. Pure function; any thread.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace headgate {

struct HostPort {
  std::string host;  // as written: a name, an IPv4 number, "[::1]"; empty = any
  int port = 0;      // 0 to 65535

  bool operator==(const HostPort&) const = default;
};

// nullopt unless what follows the last colon is a port in digits.
std::optional<HostPort> ParseHostPort(std::string_view address);

}  // namespace headgate
