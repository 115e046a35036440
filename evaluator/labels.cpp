#include "evaluator/labels.h"

#include <charconv>
#include <numeric>
#include <sstream>

#include "base/error.h"

namespace cfm::evaluator {
namespace {

std::vector<int64_t> parse_list(const std::string& labels, int64_t classes) {
  std::vector<int64_t> list;
  std::istringstream words(labels);
  for (std::string word; std::getline(words, word, ',');) {
    int64_t label = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), label);
    check(error == std::errc() && end == word.data() + word.size() && label >= 0 && label < classes,
          "--labels=" + labels + ": '" + word + "' is not one of the network's classes 0.." +
              std::to_string(classes - 1));
    list.push_back(label);
  }
  return list;
}

}  // namespace

std::vector<int64_t> label_cycle(const std::string& labels, const models::UNetConfig& model) {
  const int64_t classes = model.num_classes;
  if (classes == 0) {
    check(labels.empty() || labels == "none",
          "--labels=" + labels + ": the network has no classes; leave --labels out");
    return {};
  }
  if (labels == "none") {
    check(model.null_class, "--labels=none: the network was trained without a null class; it has classes 0.." +
                                std::to_string(classes - 1));
    return {model.null_label()};
  }
  if (!labels.empty() && labels != "all") return parse_list(labels, classes);
  std::vector<int64_t> all(static_cast<size_t>(classes));
  std::iota(all.begin(), all.end(), int64_t{0});
  return all;
}

std::vector<int64_t> labels_of(const std::vector<int64_t>& cycle, int64_t first, int64_t count) {
  std::vector<int64_t> labels;
  if (cycle.empty()) return labels;
  for (int64_t i = first; i < first + count; ++i) labels.push_back(cycle[static_cast<size_t>(i) % cycle.size()]);
  return labels;
}

}  // namespace cfm::evaluator
