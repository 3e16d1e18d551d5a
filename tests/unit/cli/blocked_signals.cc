// Threads of gRPC outlive the test that started them and keep its mask, so the signals that tests
// send to their own process are blocked before the first of them.
#include <gtest/gtest.h>

#include "cli/stop_signals.h"

namespace headgate {
namespace {

class BlockedSignals final : public testing::Environment {
 public:
  void SetUp() override { BlockStopSignals(); }
};

[[maybe_unused]] testing::Environment* const kBlocked =
    testing::AddGlobalTestEnvironment(new BlockedSignals);

}  // namespace
}  // namespace headgate
