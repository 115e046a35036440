#include <algorithm>

#include "data/file_facts.h"
#include "data/hdf5_dataset.h"

namespace cfm::data {

void read_in_one_pass(const std::filesystem::path& path, const FileFacts& facts,
                      const std::function<void(std::span<const uint8_t>)>& take) {
  constexpr uint64_t kPiece = uint64_t{4} << 20;  // bytes handed over at once
  constexpr uint64_t kCache = uint64_t{1} << 30;  // of a row of chunks
  const SilentHdf5 silent;
  const Hdf5Id file = open_hdf5_file(path);
  const uint64_t images = facts.shape.at(0), bytes = image_bytes({facts.shape.begin(), facts.shape.end()});
  const uint64_t row = facts.storage == Storage::kChunked ? facts.chunk.at(0) : 1;
  // A cache that holds one row of chunks: each is decompressed once.
  const Hdf5Id access(H5Pcreate(H5P_DATASET_ACCESS), H5Pclose);
  H5Pset_chunk_cache(access.get(), 12421, std::clamp(2 * row * bytes, kPiece, kCache), 1.0);
  const NamedDataset imgs = open_dataset(file.get(), path, facts.images_name, access.get());
  const uint64_t piece = std::max<uint64_t>(1, std::min(images, kPiece / std::max<uint64_t>(bytes, 1)));
  std::vector<uint8_t> pixels(piece * bytes);
  for (uint64_t first = 0; first < images;) {
    // A piece ends where its row of chunks does.
    const uint64_t count = std::min({piece, images - first, row > 1 ? row - first % row : piece});
    read_images(imgs, first, count, pixels.data());
    take({pixels.data(), count * bytes});
    first += count;
  }
}

}  // namespace cfm::data
