#pragma once
// Where images come from, whatever holds them: numbered images with a label each, in an order that is the source's own.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "data/hdf5_process.h"
#include "data/image_file.h"

namespace cfm::packer {

struct ImageSource {
  std::string description;                         // "folder cifar10/train, 10 classes"
  std::vector<int64_t> labels;                     // one for each image
  std::vector<std::string> class_names;            // of labels 0, 1, ...; empty if the source names none
  std::vector<std::string> notes;                  // what was left out or assumed: to be said
  bool raw = false;                                // pixels of one shape, as they are: nothing to decode
  std::function<data::Image(int64_t)> read;        // thread-safe; throws Error naming the image if it cannot be read
  std::function<std::string(int64_t)> image_name;  // for messages
  int64_t size() const { return static_cast<int64_t>(labels.size()); }
};

struct SourceOptions {
  std::string split = "train";               // which files of a folder that holds several splits
  std::filesystem::path spool_folder = ".";  // where temporary files may lie, as large as what is deflated
  bool verify = true;  // compare stored arrays, and shards of ours, with their checksums: one process is enough
  data::Hdf5Process* hdf5 = nullptr;  // where libhdf5 runs; null: in this process
};

// What --source names:
//   a folder of class folders or of images; of tars, each a class; of .npz parts, pickled batches or CIFAR-10's binary
//   batches (of the files of several splits those of options.split are taken)
//   FILE.tar (images, class folders, or tars of images each)
//   FILE.h5 or .hdf5, or a folder of them: what a data set can be (data/dataset.h), ours or others'
//   FILE.npz, FILE.npy[,LABELS.npy], FILE.bin (CIFAR-10), or a pickled batch
// Memory stays bounded whatever their size: images stay where they are, or go to the spool folder. Error naming what
// was found and what is read.
ImageSource open_source(const std::string& source, const SourceOptions& options);

// A folder of class folders (labels by sorted name; images anywhere below), or of images (label 0), in the order of
// their paths. Images are files named .png, .jpg or .jpeg; others are counted in the notes. Refuses images beside class
// folders, and a class without images: labels would not mean the same in another split. Refuses folders called train,
// val or test as classes.
ImageSource open_folder(const std::filesystem::path& folder);

// "deflated arrays were inflated into a temporary file of 15.7 GB in shards/"
std::string spool_note(const std::string& what, uint64_t bytes, const SourceOptions& options);

}  // namespace cfm::packer
