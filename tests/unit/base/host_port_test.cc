// The last colon divides; the port is digits and nothing else.
#include "base/host_port.h"

#include <gtest/gtest.h>

namespace headgate {
namespace {

TEST(HostPort, DividesAtTheLastColon) {
  EXPECT_EQ(ParseHostPort("127.0.0.1:50051"), (HostPort{"127.0.0.1", 50051}));
  EXPECT_EQ(ParseHostPort("[::1]:0"), (HostPort{"[::1]", 0}));
  EXPECT_EQ(ParseHostPort("example.org:65535"), (HostPort{"example.org", 65535}));
  EXPECT_EQ(ParseHostPort(":80"), (HostPort{"", 80}));
}

TEST(HostPort, RefusesWhatIsNoPort) {
  for (const char* address : {"", "host", "host:", "host:x", "host:80x", "host: 80", "host:+80",
                              "host:-1", "host:65536", "host:99999999999"}) {
    EXPECT_EQ(ParseHostPort(address), std::nullopt) << address;
  }
}

}  // namespace
}  // namespace headgate
