#include "data/shard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/error.h"
#include "base/hash.h"
#include "data/shard_layout.h"

namespace cfm::data {
namespace {

class Descriptor {
 public:
  explicit Descriptor(const std::filesystem::path& path) : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC)) {
    check(descriptor_ >= 0, "cannot open " + path.string() + ": " + std::strerror(errno));
  }
  ~Descriptor() { ::close(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

uint64_t file_bytes(const Descriptor& file, const std::filesystem::path& path) {
  struct stat status {};
  check(::fstat(file.get(), &status) == 0, "cannot stat " + path.string() + ": " + std::strerror(errno));
  check(S_ISREG(status.st_mode), path.string() + " is not a regular file; expected an HDF5 shard.");
  check(status.st_size > 0, path.string() + " is empty (0 bytes); expected an HDF5 shard. Copy or pack it again.");
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace

struct Shard::Impl {
  explicit Impl(std::filesystem::path p)
      : path(std::move(p)), file(path), layout(read_layout(path, file_bytes(file, path))) {}
  std::filesystem::path path;
  Descriptor file;
  ShardLayout layout;
};

Shard::Shard(std::filesystem::path path) : impl_(std::make_unique<Impl>(std::move(path))) {
  std::vector<uint8_t> pixels(static_cast<size_t>(image_shape().bytes()));
  for (const ShardLayout::Probe& probe : impl_->layout.probes) {
    read(probe.image, pixels);
    check(pixels == probe.pixels, impl_->path.string() + ": image " + std::to_string(probe.image) + " at byte " +
                                      std::to_string(impl_->layout.offset) + " + " + std::to_string(probe.image) +
                                      " images differs from what libhdf5 reads. Pack the file again, and report it.");
  }
  impl_->layout.probes.clear();
}
Shard::~Shard() = default;
Shard::Shard(Shard&&) noexcept = default;

const std::filesystem::path& Shard::path() const { return impl_->path; }
int64_t Shard::size() const { return impl_->layout.images; }
ImageShape Shard::image_shape() const { return impl_->layout.shape; }
const std::vector<int64_t>& Shard::labels() const { return impl_->layout.labels; }
const std::vector<std::string>& Shard::block_hashes() const { return impl_->layout.block_hashes; }

std::string Shard::attribute(const std::string& name) const {
  const auto found = impl_->layout.attributes.find(name);
  return found == impl_->layout.attributes.end() ? std::string() : found->second;
}

void Shard::read(int64_t first, std::span<uint8_t> out) const {
  const int64_t image_bytes = image_shape().bytes();
  const int64_t count = static_cast<int64_t>(out.size()) / image_bytes;
  if (first < 0 || count > size() - first || count * image_bytes != static_cast<int64_t>(out.size()))
    throw Error(impl_->path.string() + " has " + std::to_string(size()) + " images of " + std::to_string(image_bytes) +
                " bytes; asked for " + std::to_string(out.size()) + " bytes from image " + std::to_string(first) +
                " on.");
  uint64_t at = impl_->layout.offset + static_cast<uint64_t>(first * image_bytes);
  while (!out.empty()) {
    const ssize_t got = ::pread(impl_->file.get(), out.data(), out.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw Error(
          "cannot read " + impl_->path.string() + " at byte " + std::to_string(at) + ": " + std::strerror(errno),
          ExitCode::kRetry);
    if (got == 0)
      throw Error(impl_->path.string() + " ends at byte " + std::to_string(at) + ", inside image " +
                  std::to_string((at - impl_->layout.offset) / static_cast<uint64_t>(image_bytes)) +
                  ": it has shrunk since it was opened. Copy or pack the file again.");
    out = out.subspan(static_cast<size_t>(got));
    at += static_cast<uint64_t>(got);
  }
}

std::vector<std::string> Shard::compute_block_hashes() const {
  constexpr int64_t kPiece = 64;  // images read at once, so that they are hashed from the cache
  const int64_t image_bytes = image_shape().bytes();
  std::vector<uint8_t> pixels(static_cast<size_t>(std::min(kPiece, size()) * image_bytes));
  std::vector<std::string> hashes;
  for (int64_t block = 0; block < block_count(size()); ++block) {
    const int64_t end = std::min((block + 1) * kBlockImages, size());
    Xxh3 hash;
    for (int64_t first = block * kBlockImages; first < end; first += kPiece) {
      const std::span<uint8_t> piece(pixels.data(), static_cast<size_t>(std::min(kPiece, end - first) * image_bytes));
      read(first, piece);
      hash.update(piece.data(), piece.size());
    }
    hashes.push_back(hash.hex());
  }
  return hashes;
}

int64_t Shard::verify() const {
  if (block_hashes().empty()) return 0;
  const std::vector<std::string> found = compute_block_hashes();
  for (size_t block = 0; block < found.size(); ++block) {
    const int64_t first = static_cast<int64_t>(block) * kBlockImages;
    check(found[block] == block_hashes()[block],
          impl_->path.string() + " is damaged: images " + std::to_string(first) + " to " +
              std::to_string(std::min(first + kBlockImages, size()) - 1) + " hash to " + found[block] + ", expected " +
              block_hashes()[block] + ". Copy or pack the file again.");
  }
  return static_cast<int64_t>(found.size());
}

}  // namespace cfm::data
