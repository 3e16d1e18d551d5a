// Which addresses may be used without TLS, and status codes across gRPC.
#include "proto/link.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "headgate/internal/cluster.grpc.pb.h"
#include "tests/test_folder.h"

namespace headgate {
namespace {

TEST(Link, OnlyLocalAddressesMayBePlain) {
  for (const char* address : {"unix:/tmp/x.sock", "127.0.0.1:0", "localhost:80", "[::1]:80"}) {
    EXPECT_TRUE(CheckMayBePlain(address, false).ok()) << address;
  }
  for (const char* address : {"0.0.0.0:80", "10.0.0.1:80", "[::]:80", "example.org:80", ":80",
                              "127.example.org:80", "127.0.0.1.nip.io:80"}) {
    EXPECT_EQ(CheckMayBePlain(address, false).code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_TRUE(CheckMayBePlain(address, true).ok());
  }
}

TEST(Link, AddressesHaveAForm) {
  for (const char* address :
       {"", "foo", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "unix:"}) {
    EXPECT_EQ(CheckMayBePlain(address, false).code(), absl::StatusCode::kInvalidArgument)
        << address;
  }
  EXPECT_FALSE(CheckMayBePlain("unix:/" + std::string(107, 'x'), false).ok());
  EXPECT_TRUE(CheckMayBePlain("unix:/" + std::string(106, 'x'), false).ok());
}

TEST(Link, ListensOrSaysWhyNot) {
  internal::Worker::Service worker;
  const auto first = Listen("worker", "127.0.0.1:0", nullptr, Callers::kOwnRoles, worker);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_GT(first->port, 0);
  internal::Worker::Service other;
  const std::string taken = "127.0.0.1:" + std::to_string(first->port);
  const auto second = Listen("worker", taken, nullptr, Callers::kClients, other);
  EXPECT_EQ(second.status().code(), absl::StatusCode::kUnavailable);
  EXPECT_THAT(std::string(second.status().message()),
              testing::HasSubstr("worker: cannot listen on '" + taken));
  EXPECT_EQ(Listen("worker", "0.0.0.0:0", nullptr, Callers::kClients, other).status().code(),
            absl::StatusCode::kFailedPrecondition);
  const TestFolder folder;
  const auto local =
      Listen("worker", "unix:" + folder.At("w.sock"), nullptr, Callers::kOwnRoles, other);
  ASSERT_TRUE(local.ok()) << local.status();
  EXPECT_EQ(local->port, 0);
}

TEST(Link, StatusNeverBecomesUnknown) {
  EXPECT_EQ(ToGrpc(absl::UnknownError("x")).error_code(), grpc::StatusCode::INTERNAL);
  EXPECT_EQ(FromGrpc(ToGrpc(absl::NotFoundError("x"))), absl::NotFoundError("x"));
  EXPECT_TRUE(ToGrpc(absl::OkStatus()).ok());
}

}  // namespace
}  // namespace headgate
