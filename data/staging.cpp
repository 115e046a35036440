#include "data/staging.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>

#include "base/durable_file.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/number_text.h"

namespace cfm::data {
namespace {

namespace fs = std::filesystem;

constexpr size_t kPiece = size_t{8} << 20;

// Calls f with the bytes of a file, in pieces.
template <class F>
void for_bytes(const fs::path& file, const F& f) {
  std::ifstream in(file, std::ios::binary);
  std::vector<char> bytes(kPiece);
  while (in) {
    in.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (in.gcount() > 0) f(bytes.data(), static_cast<size_t>(in.gcount()));
  }
  if (!in.eof()) throw Error("cannot read " + file.string() + " to its end", ExitCode::kRetry);
}

std::string hash_of(const fs::path& file) {
  Xxh3 hash;
  for_bytes(file, [&](const char* bytes, size_t size) { hash.update(bytes, size); });
  return hash.hex();
}

// Returns the hash of what was read.
std::string copy_bytes(const fs::path& from, const fs::path& to, const std::function<void()>& mind_stop) {
  Xxh3 hash;
  DurableFile file(to);
  for_bytes(from, [&](const char* bytes, size_t size) {
    mind_stop();
    hash.update(bytes, size);
    file.append(bytes, size);
  });
  file.close();
  return hash.hex();
}

bool is_good_copy(Shard& shard, const fs::path& copy) try {
  std::error_code error;
  if (shard.block_hashes().empty() || fs::file_size(copy, error) != shard.facts().file_bytes) return false;
  shard.open(copy);
  return shard.verify() > 0;
} catch (const Error&) {
  return false;
}

void stage(Shard& shard, const fs::path& to, const std::function<void()>& mind_stop) {
  if (is_good_copy(shard, to)) return;
  const fs::path temporary = to.string() + ".tmp";
  const std::string read = copy_bytes(shard.path(), temporary, mind_stop);
  const std::string written = hash_of(temporary);
  if (read != written)
    throw Error("the copy " + temporary.string() + " hashes to " + written + ", what was read of " +
                    shard.path().string() + " to " + read + ": the disk under --stage_dir loses bytes",
                ExitCode::kRetry);
  rename_durably(temporary, to);
  shard.open(to);
  try {
    shard.verify();
  } catch (const Error& error) {  // the copy is what was read
    throw Error(shard.path().string() + " is damaged, as its copy shows: " + error.what(), error.exit_code());
  }
}

uint64_t missing_bytes(const std::vector<Shard*>& shards, const fs::path& folder) {
  uint64_t bytes = 0;
  for (const Shard* shard : shards) {
    std::error_code error;
    const uint64_t there = fs::file_size(folder / shard->path().filename(), error);
    if (error || there != shard->facts().file_bytes) bytes += shard->facts().file_bytes;
  }
  return bytes;
}

}  // namespace

// Locked: two jobs in one folder would remove each other's copies.
void Staging::take_folder(const std::vector<Shard*>& shards) {
  const std::string flag = "--stage_dir=" + folder_.parent_path().string();
  make_folder(folder_, flag, "Give another.");
  lock_ = std::make_unique<FileLock>(folder_ / "lock", FileLock::Kind::kExclusive,
                                     "another job stages the same data there. Give each its own --stage_dir");
  const uint64_t bytes = missing_bytes(shards, folder_), room = fs::space(folder_).available;
  check(bytes <= room, flag + " has room for " + gigabytes_text(room) + "; this node's files take " +
                           gigabytes_text(bytes) +
                           " more. Name another folder, use more nodes or groups, or do without --stage_dir.");
}

Staging::Staging(const fs::path& folder, const std::string& name, const std::vector<Shard*>& shards, const Ranks& ranks,
                 const std::function<void()>& mind_stop)
    : folder_(folder / ("cfm-" + name + "-node" + std::to_string(ranks.node))) {
  try {
    ranks.together([&] {
      if (ranks.node_rank == 0) take_folder(shards);
    });
    ranks.together([&] {
      const auto mine = static_cast<size_t>(ranks.node_rank), step = static_cast<size_t>(ranks.node_size);
      for (size_t i = mine; i < shards.size(); i += step)
        stage(*shards[i], folder_ / shards[i]->path().filename(), mind_stop);
    });
    ranks.together([&] {
      for (Shard* shard : shards) shard->open(folder_ / shard->path().filename());
    });
  } catch (...) {
    remove_copies();
    throw;
  }
}

Staging::~Staging() { remove_copies(); }

// Whoever holds the lock made the folder; the lock file goes last, with it.
void Staging::remove_copies() {
  if (lock_ == nullptr) return;
  std::error_code ignored;
  fs::remove_all(folder_, ignored);
}

}  // namespace cfm::data
