// libFuzzer: any bytes are a pickled batch or a cfm::Error; arrays lie within it.

#include <cstdlib>

#include "base/error.h"
#include "packer/latin1.h"
#include "packer/pickle.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto pickle = cfm::data::memory_bytes("input", {reinterpret_cast<const char*>(bytes), size});
  try {
    const cfm::packer::PickledDict dict = cfm::packer::read_pickle(pickle);
    for (const auto& [key, array] : dict.arrays) {
      if (array.offset > size || array.size > size - array.offset) std::abort();
      const auto elements = cfm::data::part_of(pickle, array.offset, array.size, key);
      size_t decoded = 0;
      if (array.latin1)
        cfm::packer::for_each_latin1_piece(elements, [&](std::span<const uint8_t> piece) { decoded += piece.size(); });
      if (decoded > array.size) std::abort();
    }
  } catch (const cfm::Error&) {
  }
  return 0;
}
