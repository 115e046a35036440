#pragma once
// What names of files say, in folders and archives alike.

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace cfm::packer {

// Whether `file` is named like a compressed archive, in which images cannot be read one by one.
bool is_compressed_name(const std::filesystem::path& file);

// Order of relative paths: files of a folder before those of its folders, each by name.
bool path_before(std::string_view a, std::string_view b);

// Error if class folders of `where`, a folder or an archive, are called train, val or test: they are splits, to be
// packed one by one.
void check_no_splits(const std::vector<std::string>& classes, const std::filesystem::path& where);

// Of a source without classes.
std::string flat_note();

// "3 files are not named .png, ... and were left out: notes.txt, ..."
std::string left_out_note(int64_t count, const std::string& first);

// The files that the split called `split` takes (data/file_names.h). If they belong to several splits, train takes
// those of kTrain, val and test those named so, or else the others that are not for training; any other name of a split
// is an Error naming the choices. Files of kNone beside others are refused.
std::vector<std::filesystem::path> of_split(std::vector<std::filesystem::path> files, const std::string& split,
                                            const std::string& where);

// Empty, or what is missing of numbered parts: "part 4 of 1 to 10 is not there". Files whose names differ in more than
// one number are not parts.
std::string missing_part_note(const std::vector<std::filesystem::path>& files);

// Numbers in names count as numbers: batch_2 comes before batch_10.
bool natural_before(const std::filesystem::path& a, const std::filesystem::path& b);

}  // namespace cfm::packer
