#pragma once
// How tables for people look.

#include <cstdint>
#include <ctime>
#include <string>
#include <vector>

namespace cfm::keeper {

struct Column {
  std::string title;
  bool to_the_right = false;  // numbers
};

// Rows under their titles, columns aligned and two blanks apart, a newline behind each row. Titles that are all empty
// are left out.
std::string table_text(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows);

// "812 B", "12.3 kB", "1.24 GB": 1e3, 1e6, 1e9 bytes.
std::string bytes_text(int64_t bytes);

// "2026-01-31 23:59:59", UTC.
std::string utc_text(std::time_t time);

// "12 s", "3 min", "5 h", "2 days": about.
std::string about_text(std::time_t seconds);

// "1 file", "2 files".
std::string counted(int64_t count, const std::string& noun);

// "a, b, c"
std::string listed(const std::vector<std::string>& names);

}  // namespace cfm::keeper
