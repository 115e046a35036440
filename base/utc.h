#pragma once
#include <chrono>
#include <string>

namespace cfm {

// "2026-01-31T23:59:59.123Z"
std::string utc_text(std::chrono::system_clock::time_point time = std::chrono::system_clock::now());

}  // namespace cfm
