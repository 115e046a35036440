#include "keeper/text.h"

#include <algorithm>
#include <array>
#include <cstdio>

#include "base/grouped_number.h"

namespace cfm::keeper {
namespace {

std::string padded(const std::string& text, size_t width, bool to_the_right) {
  const std::string blanks(width - std::min(width, text.size()), ' ');
  return to_the_right ? blanks + text : text + blanks;
}

std::string row_text(const std::vector<Column>& columns, const std::vector<size_t>& widths,
                     const std::vector<std::string>& row) {
  std::string text;
  for (size_t i = 0; i < columns.size(); ++i)
    text += (i > 0 ? "  " : "") + padded(row.at(i), widths[i], columns[i].to_the_right);
  return text.substr(0, text.find_last_not_of(' ') + 1) + "\n";
}

}  // namespace

std::string table_text(const std::vector<Column>& columns, const std::vector<std::vector<std::string>>& rows) {
  std::vector<std::string> titles(columns.size());
  std::vector<size_t> widths(columns.size());
  for (size_t i = 0; i < columns.size(); ++i) {
    titles[i] = columns[i].title;
    widths[i] = titles[i].size();
    for (const auto& row : rows) widths[i] = std::max(widths[i], row.at(i).size());
  }
  const bool titled = std::ranges::any_of(titles, [](const std::string& title) { return !title.empty(); });
  std::string text = titled ? row_text(columns, widths, titles) : "";
  for (const auto& row : rows) text += row_text(columns, widths, row);
  return text;
}

std::string bytes_text(int64_t bytes) {
  if (bytes < 1000) return std::to_string(bytes) + " B";
  double number = static_cast<double>(bytes);
  const char* unit = "";
  for (const char* larger : {"kB", "MB", "GB"}) {
    if (number < 999.5) break;
    number /= 1000;
    unit = larger;
  }
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(),
                number < 9.995   ? "%.2f %s"
                : number < 99.95 ? "%.1f %s"
                                 : "%.0f %s",
                number, unit);
  return text.data();
}

std::string utc_text(std::time_t time) {
  std::tm utc{};
  gmtime_r(&time, &utc);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M:%S", &utc);
  return text.data();
}

std::string about_text(std::time_t seconds) {
  constexpr std::time_t kMinute = 60, kHour = 3600, kDay = 86400;
  if (seconds < 2 * kMinute) return std::to_string(std::max<std::time_t>(seconds, 0)) + " s";
  if (seconds < 2 * kHour) return std::to_string(seconds / kMinute) + " min";
  if (seconds < 2 * kDay) return std::to_string(seconds / kHour) + " h";
  return std::to_string(seconds / kDay) + " days";
}

std::string counted(int64_t count, const std::string& noun) {
  return grouped(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

}  // namespace cfm::keeper
