#pragma once
// One line an event on standard output, written whole, so that lines of several ranks do not mix.

#include <string>

namespace cfm {

// Prints "text\n" to standard output with one write. Callers on one rank only (rank 0, a node's leader).
void say(const std::string& text);

// Prints "cfm: warning: text\n" to standard error with one write.
void warn(const std::string& text);

}  // namespace cfm
