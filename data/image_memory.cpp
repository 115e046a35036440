#include "data/image_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "base/error.h"
#include "base/number_text.h"

namespace cfm::data {
namespace {

[[noreturn]] void no_room(uint64_t bytes, const std::string& found) {
  throw Error("images in RAM take " + gigabytes_text(bytes) + " on this node: " + found +
              ". Give the job more memory, make /dev/shm larger, or use --data_mode=pread (compressed files: pack them "
              "first, with cfm_pack).");
}

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// A number from a file of the kernel; kUnlimited for "max" or where there is no such file.
uint64_t number_in(const std::filesystem::path& file) {
  uint64_t value = kUnlimited;
  std::ifstream in(file);
  return in >> value ? value : kUnlimited;
}

// What the control groups of this process leave, each of them and those above: a job's limit stands at one of them.
uint64_t left_in_control_groups() {
  uint64_t left = kUnlimited;
  const auto look = [&left](const std::filesystem::path& folder, const char* limit_file, const char* used_file) {
    const uint64_t limit = number_in(folder / limit_file), used = number_in(folder / used_file);
    if (limit != kUnlimited && used != kUnlimited) left = std::min(left, limit > used ? limit - used : 0);
  };
  std::ifstream groups("/proc/self/cgroup");  // "0::/a/b" (version 2), "7:memory:/a/b" (version 1)
  for (std::string line; std::getline(groups, line);) {
    const bool second = line.starts_with("0::"), first = line.find(":memory:") != std::string::npos;
    if (!second && !first) continue;
    const std::filesystem::path root = second ? "/sys/fs/cgroup" : "/sys/fs/cgroup/memory";
    std::filesystem::path group = line.substr(line.rfind(':') + 1);
    for (; group.has_relative_path(); group = group.parent_path())
      look(root / group.relative_path(), second ? "memory.max" : "memory.limit_in_bytes",
           second ? "memory.current" : "memory.usage_in_bytes");
    look(root, second ? "memory.max" : "memory.limit_in_bytes", second ? "memory.current" : "memory.usage_in_bytes");
  }
  return left;
}

}  // namespace

uint64_t available_memory() {
  std::ifstream info("/proc/meminfo");
  uint64_t kilobytes = 0, available = kUnlimited;
  for (std::string name; info >> name;)
    if (name == "MemAvailable:" && info >> kilobytes) available = 1024 * kilobytes;
  available = std::min(available, left_in_control_groups());
  return available == kUnlimited ? 0 : available;
}

uint64_t available_shared_memory() {
  struct statvfs status {};
  if (::statvfs("/dev/shm", &status) != 0) return 0;
  return uint64_t{status.f_bavail} * status.f_frsize;
}

struct ImageMemory::Impl {
  void* address = MAP_FAILED;
  uint64_t size = 0;

  ~Impl() {
    if (address != MAP_FAILED) ::munmap(address, size);
  }
  void map_own();
  void map_shared(const Ranks& ranks);
  void map(int descriptor, int flags);
};

void ImageMemory::Impl::map(int descriptor, int flags) {
  address = ::mmap(nullptr, size, PROT_READ | PROT_WRITE, flags, descriptor, 0);
  if (address == MAP_FAILED) no_room(size, std::string("mmap says ") + std::strerror(errno));
  ::madvise(address, size, MADV_HUGEPAGE);  // only speed
}

void ImageMemory::Impl::map_own() {
  const uint64_t available = available_memory();
  if (available > 0 && size > available) no_room(size, gigabytes_text(available) + " are available");
  map(-1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

void ImageMemory::Impl::map_shared(const Ranks& ranks) {
  const std::string name = "/cfm-" + ranks.job + "-" + std::to_string(ranks.node);
  int descriptor = -1;
  const bool leads = ranks.node_rank == 0;
  // The name is gone before there is anything behind it, so that a job that is killed leaves nothing.
  try {
    ranks.together([&] {
      if (!leads) return;
      const uint64_t available = available_memory();
      if (available > 0 && size > available) no_room(size, gigabytes_text(available) + " are available");
      ::shm_unlink(name.c_str());
      descriptor = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
      if (descriptor < 0) no_room(size, std::string("shm_open says ") + std::strerror(errno));
    });
    ranks.together([&] {
      if (!leads) descriptor = ::shm_open(name.c_str(), O_RDWR, 0600);
      if (descriptor < 0) no_room(size, "shared memory " + name + " cannot be opened: " + std::strerror(errno));
    });
    ranks.together([&] {
      if (!leads) return;
      ::shm_unlink(name.c_str());
      const int error = ::posix_fallocate(descriptor, 0, static_cast<off_t>(size));
      if (error != 0)
        no_room(size, "shared memory has room for " + gigabytes_text(available_shared_memory()) + " (" +
                          std::strerror(error) + ")");
    });
    ranks.together([&] { map(descriptor, MAP_SHARED); });
  } catch (...) {
    if (descriptor >= 0) ::close(descriptor);
    if (leads) ::shm_unlink(name.c_str());
    throw;
  }
  ::close(descriptor);
}

ImageMemory::ImageMemory(uint64_t bytes, const Ranks& ranks) : impl_(std::make_unique<Impl>()) {
  impl_->size = std::max<uint64_t>(bytes, 1);
  // The same way on all nodes, or they would not meet.
  const bool shared = ranks.size > ranks.nodes;
  if (shared) {
    impl_->map_shared(ranks);
  } else {
    ranks.together([&] { impl_->map_own(); });
  }
}

ImageMemory::~ImageMemory() = default;

std::span<uint8_t> ImageMemory::bytes() const { return {static_cast<uint8_t*>(impl_->address), impl_->size}; }

}  // namespace cfm::data
