// libFuzzer: any bytes are a zip archive of arrays, an array, or a cfm::Error; members and arrays lie within it.

#include <cstdlib>

#include "base/error.h"
#include "data/array_file.h"
#include "data/zip_directory.h"

namespace {

// What an array promises must be there to read.
void use(const cfm::data::ByteSource& file) {
  try {
    const cfm::data::ArrayFile array = cfm::data::array_in(file);
    const size_t item = cfm::data::integer_bytes(array.type);
    if (array.bytes.size > file.size) std::abort();
    if (item == 0) return;
    if (array.bytes.size != cfm::data::array_bytes(array.shape, item, file.name)) std::abort();
    cfm::data::integers(array.type, cfm::data::text_at(array.bytes, 0, array.bytes.size));
    cfm::data::type_name(array.type);
  } catch (const cfm::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* bytes, size_t size) {
  const auto file = cfm::data::memory_bytes("input", {reinterpret_cast<const char*>(bytes), size});
  use(file);
  try {
    for (const cfm::data::ZipMember& member : cfm::data::zip_members(file)) {
      if (member.offset > size || member.packed_bytes > size - member.offset) std::abort();
      if (member.stored) use(cfm::data::part_of(file, member.offset, member.bytes, member.name));
    }
  } catch (const cfm::Error&) {
  }
  return 0;
}
