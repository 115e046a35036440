// Tar archives as Python's tarfile writes them, against the same images unpacked.

#include "packer/tar_source.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>

#include "packer/tar_file.h"
#include "support/python.h"

namespace cfm {
namespace {

using packer::ImageSource;
using packer::TarMember;
using tests::ScratchDirectory;

// tree() makes an image folder, DIR/n0K/..., of distinct pictures; pack() puts DIR into a tar.
const std::string kTrees = R"(
import io, os, tarfile
import numpy as np
from PIL import Image
def picture(path, number):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    a = np.full((4, 5, 3), number, np.uint8); a[0, 0] = (number, 1, 2)
    Image.fromarray(a).save(path, format="PNG")
def tree(dir):
    for number, name in enumerate(("n03/b.JPEG", "n01/z.png", "n01/a.png", "n01/deep/er/q.png", "n01/Z.PNG", "n02/x.jpg")):
        picture(f"{dir}/{name}", number)
def pack(tar, dir, arcname, form=tarfile.GNU_FORMAT):
    with tarfile.open(tar, "w", format=form) as t: t.add(dir, arcname=arcname)
)";

packer::SourceOptions options_for(const ScratchDirectory& folder) { return {.spool_folder = folder.path()}; }

ImageSource open(const ScratchDirectory& folder, const std::string& name) {
  return packer::open_source(folder / name, options_for(folder));
}

void expect_same_images(const ImageSource& found, const ImageSource& expected) {
  EXPECT_EQ(found.labels, expected.labels);
  EXPECT_EQ(found.class_names, expected.class_names);
  ASSERT_EQ(found.size(), expected.size());
  for (int64_t i = 0; i < found.size(); ++i) {
    EXPECT_EQ(found.read(i).pixels, expected.read(i).pixels) << found.image_name(i) << expected.image_name(i);
  }
}

TEST(TarSource, IsWhatItWouldBeUnpackedWhateverItsFormatAndOuterFolders) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
tree("tree")
for form in tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT:
    pack(f"f{form}.tar", "tree", ".", form)
pack("outer.tar", "tree", "ILSVRC/train")
)");
  const ImageSource unpacked = open(folder, "tree");
  ASSERT_EQ(unpacked.class_names, (std::vector<std::string>{"n01", "n02", "n03"}));
  for (const char* tar : {"f0.tar", "f1.tar", "f2.tar", "outer.tar"}) expect_same_images(open(folder, tar), unpacked);
  EXPECT_NE(open(folder, "outer.tar").image_name(0).find("outer.tar:n01/Z.PNG"), std::string::npos);
}

TEST(TarSource, MembersThatLeadOutOfTheArchiveStayInItAsWhenTarUnpacksThem) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
picture("n1/a.png", 3); picture("n2/b.png", 4)
with tarfile.open("up.tar", "w") as t:
    for name, arcname in (("n1/a.png", "../n1/a.png"), ("n2/b.png", "../../n2/b.png")):
        t.add(name, arcname=arcname)
with tarfile.open("root.tar", "w") as t:
    for name in ("n1/a.png", "n2/b.png"):
        member = t.gettarinfo(name); member.name = "/data/" + name
        t.addfile(member, open(name, "rb"))
)");
  for (const char* tar : {"up.tar", "root.tar"}) {
    const ImageSource source = open(folder, tar);
    EXPECT_EQ(source.class_names, (std::vector<std::string>{"n1", "n2"}));
    EXPECT_EQ(source.labels, (std::vector<int64_t>{0, 1}));
    EXPECT_EQ(source.read(1).pixels[7], 4);
  }
}

TEST(TarSource, TakesTarsInATarAndAFolderOfTarsForClasses) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
tree("tree")
os.mkdir("tars")
for name in "n01", "n02", "n03": pack(f"tars/{name}.tar", f"tree/{name}", ".")
pack("ILSVRC2012_img_train.tar", "tars", ".")
)");
  const ImageSource unpacked = open(folder, "tree");
  expect_same_images(open(folder, "tars"), unpacked);
  const ImageSource nested = open(folder, "ILSVRC2012_img_train.tar");
  expect_same_images(nested, unpacked);
  EXPECT_NE(nested.image_name(4).find("ILSVRC2012_img_train.tar:n02/x.jpg"), std::string::npos);
}

TEST(TarSource, RefusesAnArchiveOfTheArchivesOfSeveralSplits) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
tree("tree")
for split in "train", "val":
    os.makedirs(f"both/{split}")
    for name in "n01", "n02": pack(f"both/{split}/{name}.tar", f"tree/{name}", ".")
pack("both.tar", "both", ".")
os.mkdir("sets")
for name in "ILSVRC2012_img_train", "ILSVRC2012_img_val": pack(f"sets/{name}.tar", "tree/n01", ".")
pack("sets.tar", "sets", ".")
)");
  tests::expect_refusal([&] { open(folder, "both.tar"); }, {"the class n01 twice", "train/n01.tar", "val/n01.tar"});
  tests::expect_refusal([&] { open(folder, "sets.tar"); }, {"ILSVRC2012_img_train.tar, a split rather than a class"});
}

TEST(TarSource, OpensMoreClassesThanFilesAreAllowedAtFirst) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
os.mkdir("tars")
for i in range(80): picture(f"c{i:02}/a.png", i); pack(f"tars/n{i:02}.tar", f"c{i:02}", ".")
)");
  rlimit before;
  ::getrlimit(RLIMIT_NOFILE, &before);
  const rlimit few{50, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &few);
  const ImageSource source = open(folder, "tars");
  for (int64_t i = 0; i < 80; ++i) EXPECT_EQ(source.read(i).pixels[7], i);
  ::setrlimit(RLIMIT_NOFILE, &before);
}

TEST(TarSource, LinksAreTheImagesThatTheyLeadTo) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
tree("tree")
os.symlink("../n02/x.jpg", "tree/n01/symbolic.png")
os.symlink("symbolic.png", "tree/n01/again.png")
os.link("tree/n03/b.JPEG", "tree/n03/" + "hard" * 40 + ".png")
for form in tarfile.GNU_FORMAT, tarfile.PAX_FORMAT: pack(f"f{form}.tar", "tree", "ILSVRC/train", form)
os.mkdir("tars")
for name in "n02", "n03": pack(f"tars/{name}.tar", f"tree/{name}", ".")
)");
  const ImageSource unpacked = open(folder, "tree");
  ASSERT_EQ(unpacked.size(), 9);
  for (const char* tar : {"f1.tar", "f2.tar"}) expect_same_images(open(folder, tar), unpacked);
  EXPECT_EQ(open(folder, "tars").size(), 3);
}

TEST(TarSource, AClassThatIsCompressedIsRefusedNotLeftOut) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
tree("tree")
os.mkdir("tars")
for name in "n01", "n03": pack(f"tars/{name}.tar", f"tree/{name}", ".")
with tarfile.open("tars/n02.tar.gz", "w:gz") as t: t.add("tree/n02", arcname=".")
pack("nested.tar", "tars", ".")
)");
  tests::expect_refusal([&] { open(folder, "nested.tar"); }, {"nested.tar:n02.tar.gz", "compressed"});
  tests::expect_refusal([&] { open(folder, "tars"); }, {"n02.tar.gz", "Decompress it"});
}

TEST(TarSource, AnImageThatIsALinkToNowhereIsUnreadableByName) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
picture("val/a.png", 1)
os.symlink("/elsewhere/b.png", "val/b.png"); os.symlink("d.png", "val/c.png"); os.symlink("c.png", "val/d.png")
pack("val.tar", "val", "val")
)");
  const ImageSource source = open(folder, "val.tar");
  ASSERT_EQ(source.size(), 4);
  EXPECT_EQ(source.read(0).pixels[7], 1);
  tests::expect_refusal([&] { source.read(1); }, {"val.tar:b.png", "a link to /elsewhere/b.png", "not in the archive"});
  for (const int64_t circle : {2, 3}) tests::expect_refusal([&] { source.read(circle); }, {"not in the archive"});
}

TEST(TarSource, LabelsAFlatTarZeroAndCountsWhatIsNoImage) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
for i in range(12): picture(f"val/ILSVRC2012_val_{i:08}.JPEG", i)
open("val/readme.txt", "w").write("hello")
os.symlink("readme.txt", "val/link.txt")
pack("val.tar", "val", "val")
)");
  const ImageSource source = open(folder, "val.tar");
  EXPECT_EQ(source.labels, std::vector<int64_t>(12, 0));
  EXPECT_TRUE(source.class_names.empty());
  for (int64_t i = 0; i < 12; ++i) EXPECT_EQ(source.read(i).pixels[7], i);
  ASSERT_EQ(source.notes.size(), 2U);
  EXPECT_NE(source.notes[0].find("label 0"), std::string::npos) << source.notes[0];
  EXPECT_NE(source.notes[1].find("2 files"), std::string::npos) << source.notes[1];
}

TEST(TarSource, TakesTheTarOfTheSplitFromAFolderOfSeveral) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
tree("tree"); picture("v/one.png", 77)
os.mkdir("sets")
pack("sets/ILSVRC2012_img_train.tar", "tree", "."); pack("sets/ILSVRC2012_img_val.tar", "v", ".")
)");
  EXPECT_EQ(packer::open_source(folder / "sets", {.split = "train"}).size(), 6);
  const ImageSource val = packer::open_source(folder / "sets", {.split = "val"});
  ASSERT_EQ(val.size(), 1);
  EXPECT_EQ(val.read(0).pixels[5], 77);
  tests::expect_refusal([&] { packer::open_source(folder / "sets", {.split = "holdout"}); },
                        {"sets", "--split=holdout", "train, val or test"});
}

TEST(TarSource, TakesTheLastOfMembersWithTheSamePathAndThoseThatWereAppended) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
picture("a/1.png", 1); picture("a/2.png", 2); pack("a.tar", "a", ".")
picture("a/1.png", 9)
with tarfile.open("a.tar", "a") as t: t.add("a/1.png", arcname="1.png")
picture("b/3.png", 3); pack("b.tar", "b", ".")
open("both.tar", "wb").write(open("a.tar", "rb").read() + open("b.tar", "rb").read())
)");
  const ImageSource source = open(folder, "both.tar");
  ASSERT_EQ(source.size(), 3);
  EXPECT_EQ(source.read(0).pixels[7], 9);
  EXPECT_EQ(source.read(1).pixels[7], 2);
  EXPECT_EQ(source.read(2).pixels[7], 3);
  ASSERT_EQ(source.notes.size(), 2U);
  EXPECT_NE(source.notes[1].find("1 members"), std::string::npos) << source.notes[1];
}

TEST(TarSource, RefusesWhatIsNoWholePlainTarSayingWhatItIs) {
  const ScratchDirectory folder;
  tests::run_python(folder.path(), kTrees + R"(
tree("tree"); pack("good.tar", "tree", ".")
b = open("good.tar", "rb").read()
with tarfile.open("gz.tar", "w:gz") as t: t.add("tree")
with tarfile.open("xz.tar", "w:xz") as t: t.add("tree")
with tarfile.open("bz2.tar", "w:bz2") as t: t.add("tree")
with tarfile.open("good.tar") as t: m = [m for m in t if m.name.endswith("a.png")][0]
open("in_data.tar", "wb").write(b[: m.offset_data + 10])
open("at_member.tar", "wb").write(b[: m.offset])
open("flipped.tar", "wb").write(b[: m.offset + 3] + b"?" + b[m.offset + 4 :])
open("size.tar", "wb").write(b[: m.offset + 124] + b"7777777777\0" + b[m.offset + 135 :])
open("tail.tar", "wb").write(b + b"something else" * 100)
open("zeros.tar", "wb").write(bytes(10240))
open("text.tar", "wb").write(b"hello" * 1000)
open("empty.tar", "wb").close()
os.mkdir("e"); pack("none.tar", "e", ".")
picture("mixed/a.png", 1); picture("mixed/n01/b.png", 1); pack("mixed.tar", "mixed", ".")
picture("splits/train/n01/b.png", 1); picture("splits/val/n01/b.png", 2); pack("splits.tar", "splits", ".")
)");
  const auto refused = [&](const std::string& name, std::vector<std::string> words) {
    words.push_back(name);
    tests::expect_refusal([&] { open(folder, name); }, words);
  };
  refused("gz.tar", {"compressed (gzip)", "gunzip"});
  refused("xz.tar", {"compressed (xz)"});
  refused("bz2.tar", {"compressed (bzip2)"});
  refused("in_data.tar", {"truncated", "a.png"});
  refused("at_member.tar", {"truncated", "zeros that end"});
  refused("flipped.tar", {"checksum"});
  refused("size.tar", {"checksum"});
  refused("tail.tar", {"behind the archive's end"});
  refused("zeros.tar", {"all zeros"});
  refused("text.tar", {"no tar"});
  refused("empty.tar", {"truncated"});
  refused("none.tar", {"holds no .png"});
  refused("mixed.tar", {"a.png", "n01", "class folders"});
  refused("splits.tar", {"train", "a split"});
}

// A header whose fields are given, the checksum put right.
std::string header(const std::string& path, const std::string& size, char type, const std::string& prefix = "") {
  std::string block(512, '\0');
  block.replace(0, path.size(), path);
  block.replace(124, size.size(), size);
  block[156] = type;
  block.replace(257, 5, "ustar");
  block.replace(345, prefix.size(), prefix);
  block.replace(148, 8, 8, ' ');
  int sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  char digits[16];
  std::snprintf(digits, sizeof digits, "%06o", static_cast<unsigned>(sum));
  block.replace(148, 7, digits, 7);
  return block;
}

std::vector<TarMember> members(const std::string& bytes) {
  std::vector<TarMember> found;
  packer::for_each_tar_member(data::memory_bytes("x.tar", bytes), [&](TarMember member) { found.push_back(member); });
  return found;
}

TEST(TarFile, ReadsSizesInBase256AndOfPaxRecordsAndPrefixes) {
  const std::string data = "abc" + std::string(509, '\0'), end(1024, '\0');
  const std::string base256 = std::string("\x80", 1) + std::string(10, '\0') + '\x03';
  const std::string records = "12 path=x/y\n10 size=3\n";
  const auto found = members(header("a.png", base256, '0') + data + header("b.png", "00000000003", '0', "d/e") + data +
                             header("p", "00000000026", 'x') + records + std::string(512 - records.size(), '\0') +
                             header("c.png", "00000000000", '0') + data + end);
  ASSERT_EQ(found.size(), 3U);
  EXPECT_EQ(found[0].path, "a.png");
  EXPECT_EQ(found[1].path, "d/e/b.png");
  EXPECT_EQ(found[2].path, "x/y");
  for (const TarMember& member : found) EXPECT_EQ(member.size, 3U) << member.path;
  EXPECT_EQ(found[2].offset, 7U * 512);
}

TEST(TarFile, RefusesImpossibleSizesAndRecords) {
  const std::string end(1024, '\0');
  const auto refused = [&](const std::string& bytes, const std::vector<std::string>& words) {
    tests::expect_refusal([&] { members(bytes + end); }, words);
  };
  const std::string huge = std::string("\x80", 1) + std::string(3, '\0') + std::string(8, '\xff');
  refused(header("a.png", huge, '0'), {"x.tar", "no number"});
  refused(header("a.png", std::string("\x80", 1) + std::string(3, '\0') + "\x7f" + std::string(7, '\xff'), '0'),
          {"x.tar", "truncated"});
  refused(header("a.png", std::string(12, '\xff'), '0'), {"no number"});
  refused(header("a.png", "0000000009x", '0'), {"no number"});
  refused(header("L", "00100000001", 'L') + std::string(1 << 24, 'a'), {"up to 1 MiB"});
  refused(header("p", "00000000005", 'x') + "9 a=b" + std::string(507, '\0'), {"pax record"});
  refused(header("p", "00000000011", 'x') + "9 size=x\n" + std::string(503, '\0'), {"size is no number"});
  refused(header("s", "00000000000", 'S'), {"sparse"});
}

}  // namespace
}  // namespace cfm
