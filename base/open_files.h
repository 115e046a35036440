#pragma once

#include <cstddef>

namespace cfm {

// Raises the process's soft limit of open files, so that `count` more than a program has by itself can be opened: a
// thousand shards, or archives of classes, are as many as a shell allows by default. Where the hard limit forbids it,
// opening them says so.
void allow_open_files(size_t count);

}  // namespace cfm
