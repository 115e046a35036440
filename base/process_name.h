#pragma once
#include <sys/types.h>

#include <string>

namespace cfm {

// "4711-123456": a process's number and when it began, in clock ticks since boot: no other process of this space ever
// has that. Empty if there is no such process, or it has ended and nobody has fetched its exit code yet.
std::string process_name(pid_t process);

// In which those names mean something: this boot of this machine, and this process's pid namespace.
std::string process_space();

}  // namespace cfm
