// The client behind `headgate generate`: asks a server and prints the answer as it comes.
#pragma once

#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"

namespace headgate {

struct GenerateOptions {
  std::string server = "127.0.0.1:50051";  // host:port or unix:path
  std::string model;                       // empty = the only one
  std::string prompt;
  std::string system;  // chat only; empty = none
  bool raw = false;    // the prompt as it is; false = as a user's chat message
  int max_tokens = 256;
  float temperature = 0.0f;
  std::optional<float> top_p;
  std::optional<int> top_k;
  std::optional<uint64_t> seed;
  std::vector<std::string> stop;
  bool ignore_eos = false;
  bool json = false;                                  // one JSON object per message instead of text
  absl::Duration connect_timeout = absl::Seconds(3);  // nobody answers there
  absl::Duration ready_timeout = absl::Minutes(5);    // the server loads its model
  absl::Duration timeout = absl::Minutes(10);         // for the answer
};

// Streams the answer to `out`, progress of long waits to `err`. The status says in one line what
// went wrong and what to do: INVALID_ARGUMENT for an address without a form, CANCELLED after Ctrl-C
// (SIGINT or SIGTERM, which it catches).
absl::Status RunGenerate(const GenerateOptions& options, std::ostream& out, std::ostream& err);

}  // namespace headgate
