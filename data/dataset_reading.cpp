// What a data set gives, once it is open.

#include <algorithm>

#include "data/dataset.h"

namespace cfm::data {

int64_t Dataset::num_classes() const {
  int64_t largest = 0;
  for (const Shard& shard : shards_) largest = std::max(largest, std::ranges::max(shard.labels()));
  return largest + 1;
}

size_t Dataset::shard_of(int64_t index) const {
  if (index < 0 || index >= size_)
    throw Error("data set " + path_.string() + " has " + std::to_string(size_) + " images; asked for image " +
                std::to_string(index) + ".");
  return static_cast<size_t>(std::ranges::upper_bound(starts_, index) - starts_.begin()) - 1;
}

int64_t Dataset::label(int64_t index) const {
  const size_t shard = shard_of(index);
  return shards_[shard].labels()[static_cast<size_t>(index - starts_[shard])];
}

void Dataset::read(int64_t index, std::span<uint8_t> out) const { read(std::span<const int64_t>(&index, 1), out); }

void Dataset::read(std::span<const int64_t> indices, std::span<uint8_t> out) const {
  const auto bytes = static_cast<size_t>(image_shape().bytes());
  if (out.size() != indices.size() * bytes)
    throw Error("data set " + path_.string() + ": " + std::to_string(indices.size()) + " images take " +
                std::to_string(indices.size() * bytes) + " bytes; given room for " + std::to_string(out.size()) + ".");
  for (const int64_t index : indices)
    if (index < readable_.first || index >= readable_.last) {
      shard_of(index);  // says so if there is no such image at all
      throw Error("data set " + path_.string() + ": image " + std::to_string(index) +
                  " is another node's; this one has " + std::to_string(readable_.first) + " to " +
                  std::to_string(readable_.last - 1) + ".");
    }
  if (memory_ != nullptr) {
    gather(indices, out);
    return;
  }
  for (size_t i = 0; i < indices.size(); ++i) {
    const size_t shard = shard_of(indices[i]);
    shards_[shard].read(indices[i] - starts_[shard], out.subspan(i * bytes, bytes));
  }
}

// From memory_. The beginning of the next image is asked for while one is copied; the processor foresees the rest.
void Dataset::gather(std::span<const int64_t> indices, std::span<uint8_t> out) const {
  constexpr size_t kLine = 64, kAhead = 8 * kLine;
  const auto bytes = static_cast<size_t>(image_shape().bytes());
  const uint8_t* const images = memory_->bytes().data();
  const auto place = [&](size_t i) { return images + static_cast<size_t>(indices[i] - readable_.first) * bytes; };
  for (size_t i = 0; i < indices.size(); ++i) {
    if (i + 1 < indices.size())
      for (size_t at = 0; at < std::min(bytes, kAhead); at += kLine) __builtin_prefetch(place(i + 1) + at);
    std::copy_n(place(i), bytes, out.data() + i * bytes);
  }
}

}  // namespace cfm::data
