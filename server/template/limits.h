// What one chat template may use. Templates come with model files and are not trusted.
#pragma once

#include <cstddef>
#include <cstdint>

namespace headgate {

struct TemplateLimits {
  size_t template_bytes_max = 256 << 10;  // source
  int nesting_max = 100;                  // of expressions and of blocks, when parsed
  int64_t steps_max = 2'000'000;          // nodes evaluated and elements visited, per render
  int evaluation_depth_max = 400;         // nested evaluations, macro calls included
  int value_depth_max = 100;              // lists and dicts inside each other
  size_t output_bytes_max = 8 << 20;      // rendered text; also the longest single string
  size_t memory_bytes_max = 128 << 20;    // everything that one render allocates, freed or not
  int64_t range_max = 100'000;            // elements of a range()
};

}  // namespace headgate
