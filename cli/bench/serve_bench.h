// `headgate bench serve`: decode and prompt processing of a running server, alternating run by run
// with a llama.cpp llama-server on the same machine, so that both see the same noise.
#pragma once

#include <ostream>
#include <string>

#include "absl/status/status.h"

namespace headgate {

struct ServeBenchOptions {
  std::string server = "127.0.0.1:50051";
  std::string peer;   // host:port of a llama-server; empty = measure Headgate alone
  int runs = 5;       // of every workload, per server
  int vocab = 40000;  // prompts are random token ids below this
  bool json = false;
};

// Prints medians, and ratios with a peer.
absl::Status RunServeBench(const ServeBenchOptions& options, std::ostream& out);

}  // namespace headgate
