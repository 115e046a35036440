#pragma once
// libhdf5 in a process of its own. Debian's libhdf5 crashes on some damaged files; there a crash, an endless loop or a
// mad allocation ends a child, and becomes an Error that names the file.

#include <filesystem>
#include <functional>
#include <memory>
#include <span>

#include "data/file_facts.h"

namespace cfm::data {

class Hdf5Process {
 public:
  // Forks. Make it first thing in main, before MPI_Init and before any thread: what is forked later inherits their
  // state.
  explicit Hdf5Process(unsigned open_seconds = 60);
  ~Hdf5Process();
  Hdf5Process(const Hdf5Process&) = delete;
  Hdf5Process& operator=(const Hdf5Process&) = delete;

  // read_facts and read_in_one_pass of file_facts.h, over there: the same values, the same Errors, and one that names
  // the file if libhdf5 crashes or takes longer than open_seconds to open it, or for a piece of it. One thread at a
  // time.
  FileFacts facts(const std::filesystem::path& path);
  void read_in_one_pass(const std::filesystem::path& path, const std::function<void(std::span<const uint8_t>)>& take);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// read_facts over there, or without a process here.
FileFacts facts_of(const std::filesystem::path& path, Hdf5Process* hdf5);

}  // namespace cfm::data
