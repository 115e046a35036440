#pragma once
// What the committed dashboards of Grafana ask Prometheus.

#include <filesystem>
#include <map>
#include <nlohmann/json.hpp>
#include <regex>
#include <string>

#include "support/file_bytes.h"

namespace cfm::test {

inline std::string replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
  return text;
}

// For a variable's label_values(series, label): the label's values, empty ones left out.
inline std::string values_query(const std::string& variable) {
  std::smatch found;
  if (!std::regex_match(variable, found, std::regex(R"(label_values\((.*), (\w+)\))"))) return "not label_values";
  return "count by (" + found[2].str() + ") (" + found[1].str() + ") unless on (" + found[2].str() + ") vector(0)";
}

// Every query of every panel, annotation and variable, for `run`, every node and every rank; by "board, title:
// expression".
inline std::map<std::string, std::string> dashboard_queries(const std::string& run) {
  std::map<std::string, std::string> queries;
  for (const auto& entry : std::filesystem::directory_iterator(CFM_SOURCE_DIR "/metrics/grafana/dashboards")) {
    const nlohmann::json board = nlohmann::json::parse(bytes_of(entry.path()));
    const auto add = [&](const std::string& title, const std::string& expression) {
      queries[entry.path().stem().string() + ", " + title + ": " + expression] =
          replaced(replaced(replaced(expression, "$run", run), "$node", ".*"), "$rank", ".*");
    };
    for (const nlohmann::json& panel : board.at("panels"))
      for (const nlohmann::json& target : panel.value("targets", nlohmann::json::array()))
        add(panel.at("title"), target.at("expr"));
    for (const nlohmann::json& one : board.at("annotations").value("list", nlohmann::json::array()))
      add(one.at("name"), one.at("expr"));
    for (const nlohmann::json& one : board.at("templating").at("list"))
      if (one.at("type") == "query") add(one.at("name"), values_query(one.at("query")));
  }
  return queries;
}

}  // namespace cfm::test
