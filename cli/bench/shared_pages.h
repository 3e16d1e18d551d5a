// A backend whose layers share pages: for measurements of contexts whose pages do not fit. What is
// computed means nothing; a step reads and writes as many bytes as with pages for every layer.
#pragma once

#include <cstdint>
#include <memory>

#include "worker/backend.h"

namespace headgate {

// Every operation goes to `inner`; layer l's pages are those of layer l % page_layers. CreatePages
// REQUIRES a layout of page_layers layers, and that layers that share keep the same rows.
std::unique_ptr<Backend> MakeSharedPages(std::unique_ptr<Backend> inner, int64_t page_layers);

}  // namespace headgate
