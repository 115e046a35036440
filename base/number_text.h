#pragma once
#include <cstdint>
#include <string>

namespace cfm {

// The shortest text that reads back as the same number: "0.9999", "1e-05", "-1e-09", "nan". For messages, file names
// and metadata; std::to_string would print 1e-9 as 0.000000.
std::string number_text(double value);
std::string number_text(int64_t value);

// The number that `text` begins with; 0 if it begins with none.
int number_or_zero(const std::string& text);

// "0.001 GB", "2.45 GB", "12.00 GB": 1e9 bytes.
std::string gigabytes_text(double bytes);

}  // namespace cfm
