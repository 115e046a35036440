#include "base/number_text.h"

#include <array>
#include <charconv>
#include <cstdio>

namespace cfm {
namespace {

template <class Number>
std::string shortest(Number value) {
  std::array<char, 32> text{};
  return {text.data(), std::to_chars(text.data(), text.data() + text.size(), value).ptr};
}

}  // namespace

std::string number_text(double value) { return shortest(value); }
std::string number_text(int64_t value) { return shortest(value); }

int number_or_zero(const std::string& text) {
  int value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

std::string gigabytes_text(double bytes) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), bytes < 100'000'000 ? "%.3f GB" : "%.2f GB", bytes / 1e9);
  return text.data();
}

}  // namespace cfm
