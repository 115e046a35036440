#include "packer/image_names.h"

#include <algorithm>
#include <cctype>

#include "base/error.h"
#include "data/file_names.h"

namespace cfm::packer {
namespace {

using data::split_of;
using data::SplitKind;
using std::filesystem::path;

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

bool is_digit(char c) { return c >= '0' && c <= '9'; }

// The first of each, for people.
std::string firsts(const std::vector<std::vector<path>>& lists) {
  std::string text;
  for (const std::vector<path>& files : lists) {
    if (files.empty()) continue;
    if (!text.empty()) text += ", ";
    text += files.front().filename().string();
  }
  return text;
}

}  // namespace

bool is_compressed_name(const path& file) {
  const std::string extension = lower(file.extension().string());
  for (const char* compressed : {".gz", ".tgz", ".bz2", ".xz", ".zst", ".zip", ".rar", ".7z"})
    if (extension == compressed) return true;
  return false;
}

bool path_before(std::string_view a, std::string_view b) {
  while (true) {
    const size_t slash_a = a.find('/'), slash_b = b.find('/');
    const bool file_a = slash_a == std::string_view::npos, file_b = slash_b == std::string_view::npos;
    const std::string_view name_a = a.substr(0, slash_a), name_b = b.substr(0, slash_b);
    if (file_a != file_b) return file_a;
    if (name_a != name_b || file_a) return name_a < name_b;
    a.remove_prefix(slash_a + 1);
    b.remove_prefix(slash_b + 1);
  }
}

void check_no_splits(const std::vector<std::string>& classes, const path& where) {
  for (const std::string& name : classes) {
    if (name != "train" && name != "val" && name != "test") continue;
    throw Error(where.string() + " holds the folder " + name + ", a split rather than a class. " +
                (std::filesystem::is_directory(where)
                     ? "Name it: --source=" + (where / name).string() + " --split=" + name
                     : std::string("Pack each split from an archive of its own.")));
  }
}

std::string flat_note() { return "there are no classes: every image gets the label 0"; }

std::string left_out_note(int64_t count, const std::string& first) {
  return std::to_string(count) + (count == 1 ? " file is" : " files are") + " not named .png, .jpg or .jpeg and " +
         (count == 1 ? "was" : "were") + " left out: " + first + (count > 1 ? ", ..." : "");
}

std::vector<path> of_split(std::vector<path> files, const std::string& split, const std::string& where) {
  const auto of = [&files](SplitKind kind) {
    std::vector<path> chosen;
    std::ranges::copy_if(files, std::back_inserter(chosen),
                         [kind](const path& file) { return split_of(file) == kind; });
    return chosen;
  };
  const std::vector<path> none = of(SplitKind::kNone), train = of(SplitKind::kTrain), val = of(SplitKind::kVal),
                          test = of(SplitKind::kTest);
  const int kinds = !none.empty() + !train.empty() + !val.empty() + !test.empty();
  if (kinds <= 1) return files;
  check(none.empty(), where + " holds files of splits (" + firsts({train, val, test}) + ") beside others (" +
                          firsts({none}) + "). Name one file as --source, or move some away.");
  const std::vector<path>& chosen = split == "train"  ? train
                                    : split == "val"  ? (val.empty() ? test : val)
                                    : split == "test" ? (test.empty() ? val : test)
                                                      : none;
  check(!chosen.empty(), where + " holds files of several splits (" + firsts({train, val, test}) +
                             "), none for --split=" + split +
                             ". Expected --split=train, val or test, or one file as --source.");
  return chosen;
}

std::string missing_part_note(const std::vector<path>& files) {
  std::vector<int64_t> numbers;
  std::string around;
  for (const path& file : files) {
    const std::string name = file.filename().string();
    const size_t last = name.find_last_of("0123456789");
    if (last == std::string::npos) return "";
    size_t first = last;
    while (first > 0 && is_digit(name[first - 1])) --first;
    if (last - first > 8) return "";
    const std::string rest = name.substr(0, first) + "#" + name.substr(last + 1);
    if (!around.empty() && rest != around) return "";
    around = rest;
    numbers.push_back(std::stoll(name.substr(first, last - first + 1)));
  }
  if (numbers.size() < 2) return "";
  std::ranges::sort(numbers);
  const int64_t first = std::min<int64_t>(numbers.front(), 1);
  for (int64_t number = first; number < numbers.back(); ++number)
    if (!std::ranges::binary_search(numbers, number))
      return "part " + std::to_string(number) + " of " + std::to_string(first) + " to " +
             std::to_string(numbers.back()) + " is not there (" + around + ")";
  return "";
}

bool natural_before(const path& a, const path& b) {
  const std::string left = a.string(), right = b.string();
  size_t i = 0, j = 0;
  while (i < left.size() && j < right.size()) {
    if (is_digit(left[i]) && is_digit(right[j])) {
      const auto digits = [](const std::string& text, size_t& at) {
        while (at + 1 < text.size() && text[at] == '0' && is_digit(text[at + 1])) ++at;
        const size_t first = at;
        while (at < text.size() && is_digit(text[at])) ++at;
        return text.substr(first, at - first);
      };
      const std::string m = digits(left, i), n = digits(right, j);
      if (m.size() != n.size()) return m.size() < n.size();
      if (m != n) return m < n;
    } else if (left[i] != right[j]) {
      return left[i] < right[j];
    } else {
      ++i, ++j;
    }
  }
  return i == left.size() && j != right.size() ? true : i == left.size() && j == right.size() && left < right;
}

}  // namespace cfm::packer
