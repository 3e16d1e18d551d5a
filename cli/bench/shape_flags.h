// The flags of measurements that make a model of random weights.
#pragma once

#include <CLI/CLI.hpp>
#include <string>

namespace headgate {

struct ShapeFlags {
  std::string shape = "llama3-8b";
  std::string device = "cuda";
  std::string policy;      // DuoAttention pattern folder; empty = full attention
  double sparsity = -1.0;  // share of streaming heads; negative = the folder's threshold
};

void AddShapeFlags(CLI::App& command, ShapeFlags& flags);

}  // namespace headgate
