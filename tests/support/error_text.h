#pragma once
// The message of the Error that some work throws, for matching its parts.

#include <gtest/gtest.h>

#include <string>

#include "base/error.h"

namespace cfm::test {

template <typename Work>
std::string error_text(const Work& work, ExitCode expected_code = ExitCode::kWontWork) {
  try {
    work();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), expected_code) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no Error was thrown";
  return "";
}

// Whether `text` has every one of `parts`; says which is missing.
inline testing::AssertionResult has(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    if (text.find(part) == std::string::npos) return testing::AssertionFailure() << "no '" << part << "' in: " << text;
  }
  return testing::AssertionSuccess();
}

}  // namespace cfm::test
