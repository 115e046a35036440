#pragma once
// What the kernel tells of processes. [proc(5)]

#include <cstdint>

namespace cfm {

// Resident memory in bytes; program files are in neither.
struct ProcessMemory {
  int64_t own = 0;     // of this process alone
  int64_t shared = 0;  // shared memory that it has mapped and touched: others may count the same
};

// All 0 for a process that there is not.
ProcessMemory process_memory(int process);

// Seconds that it has had a processor; 0 likewise.
double process_cpu_seconds(int process);

// When this process began, in seconds since 1970; now, if the kernel does not say.
double process_start_seconds();

}  // namespace cfm
