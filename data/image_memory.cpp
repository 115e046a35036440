#include "data/image_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <limits>
#include <string>

#include "base/error.h"

namespace cfm::data {
namespace {

std::string gigabytes(uint64_t bytes) {
  char text[32];
  std::snprintf(text, sizeof text, "%.2f GB", static_cast<double>(bytes) / 1e9);
  return text;
}

[[noreturn]] void no_room(uint64_t bytes, const std::string& found) {
  throw Error("images in RAM take " + gigabytes(bytes) + " on this node: " + found +
              ". Give the job more memory, make /dev/shm larger, or use --data_mode=pread.");
}

constexpr uint64_t kUnlimited = std::numeric_limits<uint64_t>::max();

// A number from a file of the kernel; kUnlimited for "max" or where there is no such file.
uint64_t number_in(const char* file) {
  uint64_t value = kUnlimited;
  std::ifstream in(file);
  return in >> value ? value : kUnlimited;
}

// What the control group of a job leaves, by either version of the kernel's interface.
uint64_t left_in_control_group() {
  uint64_t left = kUnlimited;
  for (const auto& [limit_file, used_file] :
       {std::pair("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
        std::pair("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes")}) {
    const uint64_t limit = number_in(limit_file), used = number_in(used_file);
    if (limit != kUnlimited && used != kUnlimited) left = std::min(left, limit > used ? limit - used : 0);
  }
  return left;
}

}  // namespace

uint64_t available_memory() {
  std::ifstream info("/proc/meminfo");
  uint64_t kilobytes = 0, available = kUnlimited;
  for (std::string name; info >> name;)
    if (name == "MemAvailable:" && info >> kilobytes) available = 1024 * kilobytes;
  available = std::min(available, left_in_control_group());
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
  if (available > 0 && size > available) no_room(size, gigabytes(available) + " are available");
  map(-1, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE);
}

void ImageMemory::Impl::map_shared(const Ranks& ranks) {
  const std::string name = "/cfm-" + ranks.job + "-" + std::to_string(ranks.node);
  int descriptor = -1;
  const bool leads = ranks.node_rank == 0;
  // A name lives only until all have opened it, so that nothing is left behind by a job that is killed later.
  try {
    ranks.together([&] {
      if (!leads) return;
      const uint64_t available = available_memory();
      if (available > 0 && size > available) no_room(size, gigabytes(available) + " are available");
      ::shm_unlink(name.c_str());
      descriptor = ::shm_open(name.c_str(), O_RDWR | O_CREAT | O_EXCL, 0600);
      if (descriptor < 0) no_room(size, std::string("shm_open says ") + std::strerror(errno));
      const int error = ::posix_fallocate(descriptor, 0, static_cast<off_t>(size));
      if (error != 0)
        no_room(size, "shared memory has room for " + gigabytes(available_shared_memory()) + " (" +
                          std::strerror(error) + ")");
    });
    ranks.together([&] {
      if (!leads) descriptor = ::shm_open(name.c_str(), O_RDWR, 0600);
      if (descriptor < 0) no_room(size, "shared memory " + name + " cannot be opened: " + std::strerror(errno));
      map(descriptor, MAP_SHARED);
    });
  } catch (...) {
    if (descriptor >= 0) ::close(descriptor);
    if (leads) ::shm_unlink(name.c_str());
    throw;
  }
  ::close(descriptor);
  if (leads) ::shm_unlink(name.c_str());
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
