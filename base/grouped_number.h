#pragma once
#include <cstdint>
#include <string>

namespace cfm {

// "1,281,167"; numbers that are not negative.
std::string grouped(int64_t number);

}  // namespace cfm
