// The identifiers that travel between folders. Plain integers with names: they cross the wire.
#pragma once

#include <cstdint>

namespace headgate {

using TokenId = int32_t;      // index into the model's vocabulary
using RequestId = uint64_t;   // one client request; unique within a scheduler
using SequenceId = uint64_t;  // one residence of a request on a group; new after each preemption
using PageId = uint32_t;      // index into one rank's page pool
using Epoch = uint64_t;       // one life of a worker group; messages of an older epoch are refused
using StepId = uint64_t;      // counts steps of one epoch from 1

inline constexpr PageId kNoPage = ~PageId{0};

}  // namespace headgate
