#include "packer/shard_packer.h"

#include <algorithm>
#include <atomic>
#include <exception>
#include <future>
#include <nlohmann/json.hpp>
#include <utility>

#include "base/error.h"
#include "base/log.h"
#include "base/philox.h"
#include "data/sample_order.h"
#include "data/shard_writer.h"

namespace cfm::packer {
namespace {

using data::Image;
using std::filesystem::path;

constexpr int64_t kBlockBytes = 32 << 20;  // fitted images that are kept before they are written
constexpr int64_t kImageBytes = 256;       // what one takes beside its pixels
constexpr int64_t kWarnings = 10;          // of unreadable images, with reasons

std::string json_list(const std::vector<std::string>& names) {
  return nlohmann::json(names).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace

struct ShardPacker::Loaded {
  std::optional<Image> image;
  std::string reason;        // why it cannot be read
  std::exception_ptr fault;  // what ends the packing
};

ShardPacker::ShardPacker(const Packing& packing, const ImageSource& source, const ImageFit& fit, int64_t threads,
                         std::function<void(int64_t)> progress)
    : packing_(packing),
      source_(source),
      fit_(fit),
      threads_(threads),
      progress_(std::move(progress)),
      order_(data::permutation(Stream{packing.seed, Purpose::kPackShuffle, 0}, packing.images)) {}

ShardPacker::Loaded ShardPacker::load_one(int64_t id) const {
  Loaded loaded;
  try {
    Image image;
    try {
      image = source_.read(id);
    } catch (const Error& error) {
      if (error.exit_code() != ExitCode::kWontWork) throw;  // a disk that fails for a while: not the image's fault
      loaded.reason = error.what();
      return loaded;
    }
    loaded.image = fit_.fitted(std::move(image), id);
  } catch (...) {
    loaded.fault = std::current_exception();
  }
  return loaded;
}

std::vector<ShardPacker::Loaded> ShardPacker::load(std::span<const int64_t> ids, bool first_time) const {
  std::vector<Loaded> loaded(ids.size());
  std::atomic<size_t> next = 0, done = 0;
  const auto load_next = [&] {
    const size_t i = next++;
    if (i >= ids.size()) return false;
    loaded[i] = load_one(ids[i]);
    ++done;
    return true;
  };
  int64_t told = 0;
  const auto tell = [&] {
    const auto now = static_cast<int64_t>(done);
    progress_(first_time ? now - std::exchange(told, now) : 0);
  };
  std::vector<std::future<void>> others;
  for (int64_t thread = 1; thread < std::min(threads_, static_cast<int64_t>(ids.size())); ++thread)
    others.push_back(std::async(std::launch::async, [&load_next] {
      while (load_next()) continue;
    }));
  while (load_next()) tell();
  for (auto& other : others) other.get();
  tell();
  for (const Loaded& one : loaded)
    if (one.fault) std::rethrow_exception(one.fault);
  return loaded;
}

// Writes the shard if all of `ids` can be read; returns those that can.
std::vector<int64_t> ShardPacker::try_shard(const path& file, int64_t shard, const std::vector<int64_t>& ids,
                                            const std::vector<std::string>& left_out, bool first_time) {
  std::map<std::string, std::string> attributes = packing_.attributes(shard);
  if (!left_out.empty()) attributes["unreadable"] = json_list(left_out);
  data::ShardWriter writer(file, fit_.shape(), static_cast<int64_t>(ids.size()), std::move(attributes));
  const auto block_images =
      static_cast<size_t>(std::max<int64_t>(1, kBlockBytes / (fit_.shape().bytes() + kImageBytes)));
  std::vector<int64_t> readable;
  for (size_t begin = 0; begin < ids.size(); begin += block_images) {
    const std::span<const int64_t> block(ids.data() + begin, std::min(block_images, ids.size() - begin));
    const std::vector<Loaded> loaded = load(block, first_time);
    for (size_t i = 0; i < block.size(); ++i) {
      if (!loaded[i].image) {
        if (first_time && warnings_++ < kWarnings)
          warn("unreadable: " + loaded[i].reason + (warnings_ == kWarnings ? "; all are named at the end" : ""));
        continue;
      }
      readable.push_back(block[i]);
      writer.append(loaded[i].image->pixels, source_.labels[static_cast<size_t>(block[i])]);
    }
  }
  if (readable.size() == ids.size()) writer.finish();
  return readable;
}

// A shard's size stands in its first bytes, so one that has lost images is written a second time, without them.
std::vector<std::string> ShardPacker::pack(const path& folder, int64_t shard, bool allow_unreadable) {
  const path file = folder / packing_.shard_name(shard);
  const Packing::Places places = packing_.places_of(shard);
  std::vector<int64_t> ids;
  for (int64_t place = places.first; place < places.last; ++place)
    ids.push_back(packing_.first + order_[static_cast<size_t>(place)]);
  std::vector<std::string> left_out;
  for (bool first_time = true;; first_time = false) {
    std::vector<int64_t> readable = try_shard(file, shard, ids, left_out, first_time);
    if (readable.size() == ids.size()) return left_out;
    for (size_t i = 0, kept = 0; i < ids.size(); ++i)
      if (kept < readable.size() && readable[kept] == ids[i])
        ++kept;
      else
        left_out.push_back(source_.image_name(ids[i]));
    if (!allow_unreadable) return left_out;
    check(!readable.empty(),
          "no image of shard " + std::to_string(shard) +
              " can be read. Pack into fewer shards than --shards=" + std::to_string(packing_.shards) + ".");
    ids = std::move(readable);
  }
}

}  // namespace cfm::packer
