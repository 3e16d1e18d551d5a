#pragma once

namespace headgate {

// Every multiprocessor's shared memory holds NaN afterwards: what a kernel reads there before it
// has been written shows.
void PoisonSharedMemory();

}  // namespace headgate
