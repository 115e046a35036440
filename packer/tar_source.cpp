#include "packer/tar_source.h"

#include <algorithm>
#include <map>
#include <memory>

#include "base/error.h"
#include "base/open_files.h"
#include "data/file_names.h"
#include "packer/image_names.h"
#include "packer/tar_file.h"

namespace cfm::packer {
namespace {

using data::ByteSource;
using std::filesystem::path;

struct TarImage {
  std::string path;  // CLASS/..., or without classes as the archive has it
  uint32_t archive = 0;
  uint64_t offset = 0, size = 0;
};

constexpr uint64_t kNowhere = ~uint64_t{0};  // as the size of an image that is a link to what is not there

// What is found while headers are read.
struct Index {
  std::vector<ByteSource> archives;
  std::vector<TarImage> images;
  std::vector<std::string> lost;  // where links lead that lead nowhere; such an image's `offset` is its place in here
  int64_t others = 0;
  std::string first_other;

  // Images of `archive` under `prefix`; `offset` is where it lies in the file that it is part of.
  std::vector<TarMember> add(const ByteSource& archive, uint32_t number, const std::string& prefix, uint64_t offset) {
    std::vector<TarMember> inner, links;
    const size_t before = images.size();
    for_each_tar_member(archive, [&](TarMember member) {
      if (member.folder) return;
      if (!member.link.empty() && data::is_image_name(member.path))
        links.push_back(std::move(member));
      else if (member.regular && data::is_image_name(member.path))
        images.push_back({prefix + member.path, number, offset + member.offset, member.size});
      else if (member.regular && member.path.ends_with(".tar"))
        inner.push_back(std::move(member));
      else if (member.regular && is_compressed_name(member.path))
        throw Error(archive.name + ":" + member.path +
                    " is compressed: images in it cannot be read one by one, and labels follow the order of what can. "
                    "Make the archive anew with it decompressed.");
      else if (others++ == 0)
        first_other = archive.name + ":" + member.path;
    });
    follow(std::move(links), before, number, prefix);
    return inner;
  }

  // Links become images with the bytes that they lead to, over other links where need be. REQUIRES: the images from
  // `begin` on are those of the links' archive.
  void follow(std::vector<TarMember> links, size_t begin, uint32_t number, const std::string& prefix) {
    if (links.empty()) return;
    std::map<std::string, TarImage> places;
    for (size_t i = begin; i < images.size(); ++i) places[images[i].path] = images[i];
    for (size_t left = links.size() + 1; links.size() < left;) {
      left = links.size();
      std::erase_if(links, [&](const TarMember& link) {
        const auto target = places.find(prefix + link.link);
        if (target == places.end()) return false;
        TarImage image = target->second;
        image.path = prefix + link.path;
        places[image.path] = image;
        images.push_back(std::move(image));
        return true;
      });
    }
    for (const TarMember& link : links) {
      images.push_back({.path = prefix + link.path, .archive = number, .offset = lost.size(), .size = kNowhere});
      lost.push_back(link.link);
    }
  }

  void add_class(const ByteSource& archive, uint32_t number, const std::string& name, uint64_t offset) {
    const size_t before = images.size();
    const std::vector<TarMember> inner = add(archive, number, name + "/", offset);
    check(inner.empty(), archive.name + " holds images for one class, and the archive " +
                             (inner.empty() ? "" : inner.front().path) + " too; expected images alone.");
    check(images.size() > before, archive.name + " holds no .png, .jpg or .jpeg files. Remove it, or fill it: labels " +
                                      "follow the archives' order.");
  }
};

std::string first_folder(const std::string& file) { return file.substr(0, std::min(file.find('/'), file.size())); }

// Takes off a folder that holds everything, as long as there is one with folders below it; if that leaves files
// only, that folder too: it is no class.
void strip_common_folder(std::vector<TarImage>& images) {
  while (!images.empty()) {
    const std::string common = first_folder(images.front().path) + "/";
    if (!std::ranges::all_of(images, [&](const TarImage& image) { return image.path.starts_with(common); })) return;
    for (TarImage& image : images) image.path.erase(0, common.size());
  }
}

ImageSource source_of(Index index, const path& archive, const std::string& kind) {
  const std::string where = kind + " " + archive.string();
  std::vector<TarImage>& images = index.images;
  check(!images.empty(), where + " holds no .png, .jpg or .jpeg files, nor archives of them.");
  std::ranges::stable_sort(images, path_before, &TarImage::path);
  // Of equal paths the last stays.
  const auto kept = std::unique(images.rbegin(), images.rend(),
                                [](const TarImage& a, const TarImage& b) { return a.path == b.path; });
  const auto doubled = std::distance(kept, images.rend());
  images.erase(images.begin(), images.begin() + doubled);

  ImageSource source;
  const bool flat = images.front().path.find('/') == std::string::npos;
  for (const TarImage& image : images) {
    const size_t slash = image.path.find('/');
    check(flat == (slash == std::string::npos), where + " holds both images (" + images.front().path +
                                                    ") and folders of them (" + first_folder(image.path) +
                                                    "); expected class folders, or images alone.");
    if (!flat && (source.class_names.empty() || first_folder(image.path) != source.class_names.back()))
      source.class_names.push_back(first_folder(image.path));
    source.labels.push_back(flat ? 0 : static_cast<int64_t>(source.class_names.size()) - 1);
  }
  check_no_splits(source.class_names, archive);
  if (flat) source.notes.push_back(flat_note());
  if (index.others > 0) source.notes.push_back(left_out_note(index.others, index.first_other));
  if (doubled > 0)
    source.notes.push_back(std::to_string(doubled) + " members of " + where +
                           " have a path that a later one has too; the last was taken");
  source.description = where + (flat ? ", flat" : ", " + std::to_string(source.class_names.size()) + " classes");
  const auto shared = std::make_shared<const Index>(std::move(index));
  source.image_name = [shared](int64_t i) {
    const TarImage& image = shared->images[static_cast<size_t>(i)];
    return shared->archives[image.archive].name + ":" + image.path;
  };
  source.read = [shared, name = source.image_name](int64_t i) {
    const TarImage& image = shared->images[static_cast<size_t>(i)];
    if (image.size == kNowhere)
      throw Error(name(i) + " is a link to " + shared->lost[image.offset] + ", which is not in the archive.");
    return data::read_image(data::part_of(shared->archives[image.archive], image.offset, image.size, name(i)));
  };
  return source;
}

// Error unless the archives in an archive are classes, each once.
void check_are_classes(const std::vector<TarMember>& inner, const path& tar) {
  std::map<std::string, std::string> classes;
  for (const TarMember& member : inner) {
    const path file = member.path;
    check(data::split_of(file) == data::SplitKind::kNone,
          tar.string() + " holds the archive " + member.path +
              ", a split rather than a class. Pack each split from an archive of its own.");
    const auto [other, is_new] = classes.emplace(file.stem().string(), member.path);
    check(is_new, tar.string() + " holds the class " + other->first + " twice: " + other->second + " and " +
                      member.path + ". Pack each split from an archive of its own.");
  }
}

}  // namespace

ImageSource open_tar(const path& tar) {
  Index index;
  index.archives.push_back(data::file_bytes(tar));
  const ByteSource archive = index.archives.front();
  const std::vector<TarMember> inner = index.add(archive, 0, "", 0);
  check(inner.empty() || index.images.empty(),
        archive.name + " holds both images (" + (index.images.empty() ? "" : index.images.front().path) +
            ") and archives (" + (inner.empty() ? "" : inner.front().path) + "); expected one or the other.");
  check_are_classes(inner, tar);
  for (const TarMember& member : inner)
    index.add_class(data::part_of(archive, member.offset, member.size, archive.name + ":" + member.path), 0,
                    path(member.path).stem().string(), member.offset);
  if (inner.empty()) strip_common_folder(index.images);
  return source_of(std::move(index), tar, inner.empty() ? "tar" : "tar of tars");
}

ImageSource open_class_tars(const std::vector<path>& tars, const path& folder) {
  allow_open_files(tars.size());
  Index index;
  for (const path& tar : tars) {
    index.archives.push_back(data::file_bytes(tar));
    index.add_class(index.archives.back(), static_cast<uint32_t>(index.archives.size() - 1), tar.stem().string(), 0);
  }
  return source_of(std::move(index), folder, "folder of tars");
}

}  // namespace cfm::packer
