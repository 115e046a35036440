#include "packer/latin1.h"

#include <vector>

#include "base/error.h"

namespace cfm::packer {

void for_each_latin1_piece(const data::ByteSource& text, const std::function<void(std::span<const uint8_t>)>& visit) {
  std::vector<uint8_t> bytes;
  uint8_t first = 0;  // of a character of two bytes
  data::for_each_piece(text, [&](std::span<const uint8_t> piece) {
    bytes.clear();
    for (const uint8_t byte : piece) {
      const bool second = first != 0;
      if (second ? (byte & 0xc0) != 0x80 : byte >= 0x80 && byte != 0xc2 && byte != 0xc3)
        throw Error(text.name + " is damaged: it holds text of other characters than latin1 has.");
      if (second || byte < 0x80) bytes.push_back(second ? static_cast<uint8_t>(first << 6 | (byte & 0x3f)) : byte);
      first = second || byte < 0x80 ? 0 : byte;
    }
    visit(bytes);
  });
  check(first == 0, text.name + " is damaged: it ends within a character.");
}

}  // namespace cfm::packer
