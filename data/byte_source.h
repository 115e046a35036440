#pragma once
// Bytes that are read at offsets, whatever holds them: a file, a part of one, a spool, memory. Readers of formats take
// one of these, so that the same code reads a set of any size and is driven by a fuzzer.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "data/descriptor.h"

namespace cfm::data {

struct ByteSource {
  std::string name;  // for messages
  uint64_t size = 0;
  // Fills all of `out` from `offset` on; thread-safe. Callers stay within `size`: use read_at.
  std::function<void(uint64_t offset, std::span<uint8_t> out)> read;
};

// A file, by pread; it stays open as long as a copy of the source lives. Error if it cannot be opened, is no regular
// file, or (while it is read) has become shorter.
ByteSource file_bytes(const std::filesystem::path& file);

// The first `size` bytes of an open file, by pread.
ByteSource descriptor_bytes(std::shared_ptr<const Descriptor> descriptor, uint64_t size, std::string name);

// `bytes` must outlive the source.
ByteSource memory_bytes(std::string name, std::string_view bytes);

// The source owns `bytes`.
ByteSource owned_bytes(std::string name, std::string bytes);

// `size` bytes of `source` from `offset` on. Error if it has fewer.
ByteSource part_of(const ByteSource& source, uint64_t offset, uint64_t size, std::string name);

// Error naming the source unless all of out.size() bytes from `offset` on are there.
void read_at(const ByteSource& source, uint64_t offset, std::span<uint8_t> out);
std::string text_at(const ByteSource& source, uint64_t offset, uint64_t size);

// All of `source` in order, in pieces of up to 1 MiB.
void for_each_piece(const ByteSource& source, const std::function<void(std::span<const uint8_t>)>& visit);

}  // namespace cfm::data
