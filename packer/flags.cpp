#include "packer/flags.h"

#include <gflags/gflags.h>

DEFINE_string(
    source, "",
    "images: a folder of class folders or of images (PNG, JPEG), a tar of them, a tar or a folder of tars (one a "
    "class), FILE.h5 or a folder of them, FILE.npz, FILE.npy[,LABELS.npy], a pickled batch, CIFAR-10's FILE.bin, or a "
    "folder of such parts "
    "(of several splits, those of --split are taken)");
DEFINE_int64(first, 0, "images: index of the first image to take, in the source's order");
DEFINE_int64(count, 0, "images: how many to take; 0: all from --first on");
DEFINE_int64(size, 0, "images: height and width that every image must have or is resized to; 0: those of the first");
DEFINE_string(resize, "none",
              "images: to --size, with Pillow's pixels: box, the whole image squashed by averaging; adm, halved while "
              "twice the size fits, then bicubic, then the centre square; none");
DEFINE_string(channels, "auto", "images: 1 or 3 (grey images become colour); auto: those of the first");
DEFINE_int64(grey_levels, 0,
             "images: pixels are grey levels 0..n-1, to be spread over 0..255 by a keyed draw within each level; 0: "
             "they are bytes");
DEFINE_bool(allow_unreadable, false,
            "images: leave out images that cannot be read; otherwise all else is packed, and the same command with "
            "this flag finishes what is missing");
DEFINE_string(out, "",
              "output: the shards go to OUT/SPLIT/SPLIT-00000-of-00001.h5 and so on, collected in OUT/SPLIT.partial "
              "until all are there");
DEFINE_string(split, "train", "output: name of the split");
DEFINE_int64(shards, 1, "output: number of files");
DEFINE_uint64(seed, 0, "output: of the shuffle, and of the grey levels' draws");
DEFINE_bool(overwrite, false, "output: replace OUT/SPLIT if it exists, and begin anew where another packing was begun");
DEFINE_int64(threads, 0, "machine: threads of each rank that decode images; 0: its share of the cores");

namespace cfm::packer {

ProgramHelp program_help() {
  return {
      "cfm_pack",
      "images to shuffled, fingerprinted HDF5 shards. Under mpirun the ranks share the shards and give the same bytes; "
      "the same command continues what was stopped. `cfm_pack --inspect FILE...` tells what files and folders "
      "are: shards, or what can be packed.",
      "mpirun -n 8 cfm_pack --source=imagenet/train --out=shards --split=train --shards=64",
      __FILE__,
      {"images", "output", "machine"}};
}

PackConfig config_from_flags() {
  Problems problems;
  if (FLAGS_channels != "auto" && FLAGS_channels != "1" && FLAGS_channels != "3")
    problems.push_back("--channels=" + FLAGS_channels + ": expected auto, 1 or 3.");
  const std::optional<Resize> resize = resize_from(FLAGS_resize);
  if (!resize) problems.push_back("--resize=" + FLAGS_resize + ": expected none, box or adm.");
  check_no_problems(problems);
  PackConfig config;
  config.source = FLAGS_source;
  config.out = FLAGS_out;
  config.split = FLAGS_split;
  config.shards = FLAGS_shards;
  config.seed = FLAGS_seed;
  config.size = FLAGS_size;
  config.resize = *resize;
  config.channels = FLAGS_channels == "auto" ? 0 : FLAGS_channels == "1" ? 1 : 3;
  config.first = FLAGS_first;
  config.count = FLAGS_count;
  config.grey_levels = FLAGS_grey_levels;
  config.threads = FLAGS_threads;
  config.allow_unreadable = FLAGS_allow_unreadable;
  config.overwrite = FLAGS_overwrite;
  return config;
}

}  // namespace cfm::packer
