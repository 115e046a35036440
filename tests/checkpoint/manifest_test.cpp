#include "checkpoint/manifest.h"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/hash.h"
#include "support/error_text.h"

namespace cfm::checkpoint {
namespace {

using nlohmann::json;
using test::error_text;
using test::has;

Manifest example() {
  Manifest m;
  m.progress = {12000, 1536000, 11998};
  m.seed = 0xFFFFFFFFFFFFFFFF;
  m.global_batch = 128;
  m.dataset_fingerprint = "0123456789abcdef0123456789abcdef";
  m.source_revision = "abc1234";
  m.model = {{"image_size", "8"}};
  m.flags = {{"lr", "5e-4"}, {"run_dir", "runs/d\"igits"}};
  m.last_bits = {{"ranks", "2"}};
  m.files = {{"model.safetensors", 12, {"00112233445566778899aabbccddeeff"}}};
  return m;
}

// Changes one value and renews the manifest's hash of itself: what a well-meaning editor of the file would do.
std::string edited(const std::function<void(json&)>& edit) {
  json all = json::parse(to_json(example()));
  edit(all);
  all.erase("manifest_xxh3_128");
  const std::string rest = all.dump(1) + "\n";
  all["manifest_xxh3_128"] = xxh3_128_hex(rest.data(), rest.size());
  return all.dump(1) + "\n";
}

TEST(ManifestFile, ComesBackAsItWas) {
  const std::string text = to_json(example());
  const Manifest back = manifest_from_json(text, "here");
  EXPECT_EQ(back.progress.step, 12000);
  EXPECT_EQ(back.progress.images_seen, 1536000);
  EXPECT_EQ(back.progress.optimizer_steps, 11998);
  EXPECT_EQ(back.seed, 0xFFFFFFFFFFFFFFFFU);
  EXPECT_EQ(back.flags.at("run_dir"), "runs/d\"igits");
  ASSERT_EQ(back.files.size(), 1U);
  EXPECT_EQ(back.files[0].block_hashes.at(0), "00112233445566778899aabbccddeeff");
  EXPECT_EQ(to_json(back), text);
}

TEST(ManifestFile, SaysWhereARunThatBranchedComesFromAndIsSilentOtherwise) {
  Manifest branched = example();
  EXPECT_EQ(to_json(branched).find("branched_from"), std::string::npos);
  branched.branched_from = Branch{.run = "/runs/a b", .step = 7, .manifest_hash = "00ff", .updates = 9};
  const std::string text = to_json(branched);
  EXPECT_EQ(manifest_from_json(text, "here").branched_from, branched.branched_from);
  EXPECT_FALSE(manifest_from_json(to_json(example()), "here").branched_from);
}

TEST(ManifestFile, NoticesEveryFlippedBit) {
  const std::string text = to_json(example());
  for (size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string damaged = text;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << (bit % 8)));
    EXPECT_FALSE(manifest_is_intact(damaged)) << "bit " << bit;
    EXPECT_TRUE(has(error_text([&] { manifest_from_json(damaged, "here"); }), {"here", "damaged"}));
  }
}

TEST(ManifestFile, NoticesEveryTruncation) {
  const std::string text = to_json(example());
  for (size_t size = 0; size < text.size(); ++size) EXPECT_FALSE(manifest_is_intact(text.substr(0, size))) << size;
}

TEST(ManifestFile, NoticesAByteMoreAndAnotherLayoutOfTheSame) {
  const std::string text = to_json(example());
  EXPECT_FALSE(manifest_is_intact(text + "\n"));
  EXPECT_FALSE(manifest_is_intact(json::parse(text).dump()));
}

TEST(ManifestFile, ThatIsNestedWithoutEndIsDamaged) {
  const std::string deep(1'000'000, '[');
  EXPECT_FALSE(manifest_is_intact("{\"manifest_xxh3_128\": \"\", \"a\": " + deep));
  EXPECT_FALSE(
      manifest_is_intact("{\"manifest_xxh3_128\": \"\", \"a\": " + deep + std::string(deep.size(), ']') + "}"));
}

TEST(ManifestFile, NamesTheKeyThatIsMissingOrMalformed) {
  const auto refusal = [](const std::function<void(json&)>& edit) {
    return error_text([&] { manifest_from_json(edited(edit), "here"); });
  };
  EXPECT_TRUE(has(refusal([](json& m) { m.erase("seed"); }), {"here", "no 'seed'"}));
  EXPECT_TRUE(has(refusal([](json& m) { m["step"] = "12"; }), {"'step'", "\"12\"", "an integer"}));
  EXPECT_TRUE(has(refusal([](json& m) { m["flags"] = {{"lr", 1}}; }), {"'flags'", "object of strings"}));
  EXPECT_TRUE(has(refusal([](json& m) { m["files"] = 1; }), {"'files'"}));
  EXPECT_TRUE(has(refusal([](json& m) { m["files"][0]["name"] = "../../etc/passwd"; }), {"../../etc/passwd"}));
  EXPECT_TRUE(has(refusal([](json& m) { m["format_version"] = 2; }), {"version 2", "reads 1"}));
  EXPECT_TRUE(has(refusal([](json& m) { m["format_version"] = 0x100000001; }), {"version 4294967297"}));
  EXPECT_TRUE(has(refusal([](json& m) { m["step"] = UINT64_MAX; }), {"'step'", "18446744073709551615"}));
}

}  // namespace
}  // namespace cfm::checkpoint
