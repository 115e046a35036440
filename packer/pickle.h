#pragma once
// Pickled batches: dicts of numpy arrays and lists of labels, as Python 3 and numpy (1 and 2) write them under
// protocols 2 to 5, and Python 2 under protocol 2. Nothing is run: a pickle is a program, and any other opcode or
// global than such a dict needs is refused by name.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "data/byte_source.h"

namespace cfm::packer {

struct PickledArray {
  std::string type = "";  // numpy's: "|u1", "<i8"
  std::vector<int64_t> shape = {};
  bool fortran_order = false;
  uint64_t offset = 0, size = 0;  // of the elements in the pickle
  bool latin1 = false;            // they stand there as text, a character a byte, in UTF-8
};

struct PickledDict {
  std::map<std::string, PickledArray> arrays;
  std::map<std::string, std::vector<int64_t>> lists;  // of integers alone
  std::vector<std::string> others;                    // keys of anything else (names of files)
};

// Reads all but the arrays' elements; memory is bounded whatever the pickle says. Error naming the byte and what stands
// there.
PickledDict read_pickle(const data::ByteSource& pickle);

}  // namespace cfm::packer
