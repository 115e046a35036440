#include "data/file_names.h"

#include <algorithm>
#include <cctype>
#include <string>

namespace cfm::data {
namespace {

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  return text;
}

// Whether `word` stands in `text` on its own: val in img_val.tar and val_data, not in interval.tar.
bool has_word(const std::string& text, const std::string& word) {
  const auto is_letter = [](char c) { return std::isalpha(static_cast<unsigned char>(c)) != 0; };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1))
    if ((at == 0 || !is_letter(text[at - 1])) &&
        (at + word.size() == text.size() || !is_letter(text[at + word.size()])))
      return true;
  return false;
}

}  // namespace

bool is_image_name(const std::filesystem::path& file) {
  const std::string extension = lower(file.extension().string());
  return extension == ".png" || extension == ".jpg" || extension == ".jpeg";
}

bool is_hdf5_name(const std::filesystem::path& file) {
  return file.extension() == ".h5" || file.extension() == ".hdf5";
}

SplitKind split_of(const std::filesystem::path& file) {
  const std::string name = lower(file.filename().string());
  if (has_word(name, "train")) return SplitKind::kTrain;
  for (const char* word : {"val", "valid", "validation"})
    if (has_word(name, word)) return SplitKind::kVal;
  if (has_word(name, "test")) return SplitKind::kTest;
  return name.starts_with("data_batch") ? SplitKind::kTrain : SplitKind::kNone;
}

}  // namespace cfm::data
