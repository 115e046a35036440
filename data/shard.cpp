#include "data/shard.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <optional>
#include <utility>

#include "base/error.h"
#include "base/hash.h"
#include "data/descriptor.h"
#include "data/planar.h"

namespace cfm::data {
namespace {

using std::filesystem::path;

uint64_t file_bytes(const Descriptor& file, const path& path) {
  struct stat status {};
  check(::fstat(file.number(), &status) == 0, "cannot stat " + path.string() + ": " + std::strerror(errno));
  check(S_ISREG(status.st_mode), path.string() + " is not a regular file; expected an HDF5 shard.");
  return static_cast<uint64_t>(status.st_size);
}

}  // namespace

struct Shard::Impl {
  std::filesystem::path path;
  FileFacts facts;
  ReadPlan plan;
  std::vector<int64_t> shifted_labels;  // where labels are not stored from 0 on
  std::optional<Descriptor> file;
  std::filesystem::path opened;  // the file that `file` is: `path`, or a copy of it

  void read_bytes(uint64_t at, std::span<uint8_t> out) const;
};

Shard::Shard(std::filesystem::path path, FileFacts facts) : impl_(std::make_unique<Impl>()) {
  impl_->plan = plan_of(facts, path);
  impl_->path = std::move(path);
  impl_->facts = std::move(facts);
}
Shard::Shard(const std::filesystem::path& path) : Shard(path, read_facts(path)) {
  if (plan().access != Access::kOnePass) open();
}
Shard::~Shard() = default;
Shard::Shard(Shard&&) noexcept = default;

const std::filesystem::path& Shard::path() const { return impl_->path; }
int64_t Shard::size() const { return impl_->plan.images; }
ImageShape Shard::image_shape() const { return impl_->plan.shape; }
const FileFacts& Shard::facts() const { return impl_->facts; }
const ReadPlan& Shard::plan() const { return impl_->plan; }
const std::vector<int64_t>& Shard::labels() const {
  return impl_->shifted_labels.empty() ? impl_->facts.labels : impl_->shifted_labels;
}

void Shard::count_labels_from_one() {
  impl_->shifted_labels = impl_->facts.labels;
  for (int64_t& label : impl_->shifted_labels) --label;
}

std::string Shard::attribute(const std::string& name) const {
  const auto found = impl_->facts.attributes.find(name);
  return found == impl_->facts.attributes.end() ? std::string() : found->second;
}

void Shard::open() { open(impl_->path); }

void Shard::open(const std::filesystem::path& copy) {
  Impl& impl = *impl_;
  Descriptor file(::open(copy.c_str(), O_RDONLY | O_CLOEXEC));
  check(file.is_open(), "cannot open " + copy.string() + ": " + std::strerror(errno));
  const uint64_t bytes = file_bytes(file, copy);
  check(bytes == impl.facts.file_bytes, copy.string() + " has " + std::to_string(bytes) + " bytes, but had " +
                                            std::to_string(impl.facts.file_bytes) +
                                            " when libhdf5 read it. Copy or pack the file again.");
  impl.file.emplace(std::move(file));
  impl.opened = copy;
  if (impl.plan.access == Access::kOnePass) return;
  std::vector<uint8_t> pixels(static_cast<size_t>(image_shape().bytes()));
  for (const FileFacts::Probe& probe : impl.facts.probes) {
    if (probe.image < 0 || probe.image >= size()) continue;
    const uint64_t at = impl.plan.place_of(probe.image);
    impl.read_bytes(at, pixels);
    check(xxh3_128_hex(pixels.data(), pixels.size()) == probe.hash,
          copy.string() + ": image " + std::to_string(probe.image) + " at byte " + std::to_string(at) +
              " differs from what libhdf5 reads. Pack the file again, and report it.");
  }
}

void Shard::Impl::read_bytes(uint64_t at, std::span<uint8_t> out) const {
  while (!out.empty()) {
    const ssize_t got = ::pread(file->number(), out.data(), out.size(), static_cast<off_t>(at));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0)
      throw Error("cannot read " + opened.string() + " at byte " + std::to_string(at) + ": " + std::strerror(errno),
                  ExitCode::kRetry);
    if (got == 0)
      throw Error(opened.string() + " ends at byte " + std::to_string(at) +
                  ", among its images: it has shrunk since it was opened. Copy or pack the file again.");
    out = out.subspan(static_cast<size_t>(got));
    at += static_cast<uint64_t>(got);
  }
}

void Shard::read(int64_t first, std::span<uint8_t> out) const {
  const Impl& impl = *impl_;
  const int64_t image_bytes = image_shape().bytes();
  const int64_t count = static_cast<int64_t>(out.size()) / image_bytes;
  if (first < 0 || count > size() - first || count * image_bytes != static_cast<int64_t>(out.size()))
    throw Error(impl.path.string() + " has " + std::to_string(size()) + " images of " + std::to_string(image_bytes) +
                " bytes; asked for " + std::to_string(out.size()) + " bytes from image " + std::to_string(first) +
                " on.");
  check(
      impl.plan.access != Access::kOnePass && impl.file,
      impl.path.string() + " (" + impl.plan.storage + ") cannot be read image by image. Read it with --data_mode=ram.");
  const auto bytes = static_cast<size_t>(image_bytes);
  thread_local std::vector<uint8_t> interleaved;
  for (int64_t image = first; image < first + count;) {
    // As many images as lie behind each other.
    int64_t run = first + count - image;
    if (impl.plan.access == Access::kChunks)
      run = std::min(run, impl.plan.chunk_images - image % impl.plan.chunk_images);
    if (impl.plan.interleaved) run = 1;
    const auto part = out.subspan(static_cast<size_t>(image - first) * bytes, static_cast<size_t>(run) * bytes);
    if (impl.plan.interleaved) {
      interleaved.resize(bytes);
      impl.read_bytes(impl.plan.place_of(image), interleaved);
      to_planar(interleaved, impl.plan.shape, part);
    } else {
      impl.read_bytes(impl.plan.place_of(image), part);
    }
    image += run;
  }
}

void Shard::read_raw(uint64_t at, std::span<uint8_t> out) const { impl_->read_bytes(at, out); }

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
          impl_->opened.string() + " is damaged: images " + std::to_string(first) + " to " +
              std::to_string(std::min(first + kBlockImages, size()) - 1) + " hash to " + found[block] + ", expected " +
              block_hashes()[block] + ". Copy or pack the file again.");
  }
  return static_cast<int64_t>(found.size());
}

}  // namespace cfm::data
