// What a resume says has changed, and which weights a run may start from.

#include <gflags/gflags.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/source_revision.h"
#include "trainer/coupled_noise.h"
#include "trainer/flags.h"
#include "trainer/last_bits.h"
#include "trainer/report.h"
#include "trainer/resume.h"
#include "trainer/start_weights.h"

namespace cfm::trainer {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;
using ::testing::ThrowsMessage;
using Flags = std::vector<std::string>;

TrainConfig config_of(const Flags& more) {
  const gflags::FlagSaver defaults_again;
  Flags flags{"--run_dir=r", "--train_data=d", "--steps=1000", "--global_batch=8"};
  flags.insert(flags.end(), more.begin(), more.end());
  return *read_flags(flags);
}

checkpoint::Manifest manifest_of_run(const TrainConfig& config, int64_t step) {
  checkpoint::Manifest manifest;
  manifest.progress.step = step;
  manifest.flags = config.flags;
  manifest.data_groups = config.data_groups;
  manifest.model = models::to_metadata(config.model);
  manifest.source_revision = source_revision();
  manifest.last_bits = {{"threads", "1"}};
  return manifest;
}

std::vector<std::string> changes(const Flags& then, const Flags& now) {
  return changes_since(manifest_of_run(config_of(then), 100), config_of(now), data::Fingerprint(), {{"threads", "1"}});
}

TEST(Changes, TheSameCommandHasNone) { EXPECT_EQ(changes({"--lr=1e-3"}, {"--lr=1e-3"}), Flags()); }

TEST(Changes, EveryFlagThatDecidesNumbersIsSaidWithBothValues) {
  EXPECT_THAT(changes({"--lr=1e-3"}, {"--lr=2e-3"}),
              ElementsAre("--lr was 0.001, is 0.002: the run goes on with 0.002"));
  const Flags others{"--warmup_steps=3",
                     "--lr_decay=cosine",
                     "--lr_floor=0",
                     "--beta1=0.8",
                     "--beta2=0.9",
                     "--adam_eps=1e-6",
                     "--weight_decay=1",
                     "--clip_norm=2",
                     "--precision=bf16",
                     "--channels_last",
                     "--micro_batch=2",
                     "--max_skipped=1",
                     "--activation_checkpointing"};
  for (const std::string& flag : others) {
    const std::string name = flag.substr(0, flag.find('='));
    EXPECT_THAT(changes({}, {flag}), ElementsAre(AllOf(StartsWith(name + " was "), HasSubstr("the run goes on with"),
                                                       Not(HasSubstr("last bits")))));
  }
}

TEST(Changes, TheSizeOfABatchIsNotAMatterOfLastBits) {
  const gflags::FlagSaver defaults_again;
  const TrainConfig then = config_of({});
  const TrainConfig now = *read_flags({"--run_dir=r", "--train_data=d", "--steps=1000", "--global_batch=16"});
  EXPECT_THAT(changes_since(manifest_of_run(then, 100), now, data::Fingerprint(), {{"threads", "1"}}),
              ElementsAre("--global_batch was 8, is 16: the run goes on with 16"));
}

TEST(Changes, WhatDecidesNoNumbersIsNotSaid) {
  EXPECT_EQ(changes({}, {"--log_every=3", "--keep_last=7", "--step_timeout=5", "--threads=2"}), Flags());
}

TEST(Changes, MoreStepsMoveADecayAndFewerThanWereMadeLeaveNothingToGoOnWith) {
  const auto with_steps = [](const std::string& decay, int64_t step, const std::string& steps) {
    const gflags::FlagSaver defaults_again;
    const TrainConfig then = config_of({"--lr_decay=" + decay});
    const TrainConfig now =
        *read_flags({"--run_dir=r", "--train_data=d", "--global_batch=8", "--lr_decay=" + decay, "--steps=" + steps});
    return changes_since(manifest_of_run(then, step), now, data::Fingerprint(), {});
  };
  EXPECT_THAT(with_steps("constant", 100, "2000"), ElementsAre("--steps was 1000, is 2000: the run goes on with 2000"));
  EXPECT_THAT(with_steps("cosine", 100, "2000"),
              ElementsAre("--steps was 1000, is 2000: the run goes on with 2000, and --lr decays until then"));
  EXPECT_EQ(with_steps("cosine", 700, "500"), Flags());
}

TEST(Changes, WeightsToStartFromAreSaidToHaveNoEffectUnlessTheyAreThoseOfThen) {
  EXPECT_THAT(changes({}, {"--init_from=w"}),
              ElementsAre(AllOf(HasSubstr("--init_from was empty, is w"), HasSubstr("no effect"),
                                HasSubstr("another --run_dir"), Not(HasSubstr("goes on with")))));
  EXPECT_THAT(changes({"--init_from=v"}, {"--init_from=w"}), ElementsAre(HasSubstr("--init_from was v, is w")));
  EXPECT_EQ(changes({"--init_from=w"}, {"--init_from=w"}), Flags());
  EXPECT_EQ(changes({"--init_from=w"}, {}), Flags());
}

TEST(Changes, AnotherProgramAndOtherLastBitsAreSaid) {
  checkpoint::Manifest then = manifest_of_run(config_of({}), 100);
  then.source_revision = "0123456789ab-dirty";
  EXPECT_THAT(changes_since(then, config_of({}), data::Fingerprint(), {{"threads", "2"}, {"new_key", "x"}}),
              ElementsAre(AllOf(HasSubstr("0123456789ab-dirty"), HasSubstr(source_revision())),
                          "threads was 1, is 2: the same samples and noise, other last bits"));
}

TEST(OtherData, IsRefusedWithBothFingerprintsAndTheSameImagesPackedAnewAreToldSo) {
  checkpoint::Manifest then = manifest_of_run(config_of({}), 100);
  then.dataset_fingerprint = "f1";
  then.dataset_images_fingerprint = "i1";
  const auto refusal = [&](const data::Fingerprint& now) {
    return [&then, now] { check_resumable(then, config_of({}), now); };
  };
  EXPECT_NO_THROW(refusal({.images = "i1", .files = "f1"})());
  EXPECT_THAT(refusal({.images = "i2", .files = "f2"}),
              ThrowsMessage<SharedError>(AllOf(HasSubstr("--train_data=d"), HasSubstr("other data"), HasSubstr("i2"),
                                               HasSubstr("f2"), HasSubstr("i1"), HasSubstr("f1"),
                                               HasSubstr("--allow_other_data"))));
  // Files of others are known by samples of their bytes alone: what is known of all images decides.
  EXPECT_THAT(refusal({.images = "i2", .files = "f1"}), ThrowsMessage<SharedError>(HasSubstr("other data")));
  EXPECT_NO_THROW(refusal({.images = "", .files = "f1"})()) << "not known whether they differ";
  EXPECT_THAT(refusal({.images = "i1", .files = "f2"}),
              ThrowsMessage<SharedError>(HasSubstr("the same images in another packing")));
  const TrainConfig allowing = config_of({"--allow_other_data"});
  const data::Fingerprint packed_anew{.images = "i1", .files = "f2"};
  EXPECT_NO_THROW(check_resumable(then, allowing, packed_anew));
  EXPECT_THAT(changes_since(then, allowing, packed_anew, {}),
              ElementsAre(HasSubstr("the same images in another packing")));
}

TEST(LastBits, NameWhatEachLibraryChoosesBy) {
  const checkpoint::Metadata bits = arithmetic_of_rank(3);
  EXPECT_EQ(bits.at("threads"), "3");
  for (const std::string name :
       {"cpu_capability", "kernels", "processor", "libtorch", "mkl", "onednn", "environment"}) {
    EXPECT_FALSE(bits.at(name).empty()) << name;
  }
  ::unsetenv("DNNL_MAX_CPU_ISA");
  ::setenv("ONEDNN_MAX_CPU_ISA", "AVX2", 1);
  ::setenv("ONEDNN_DEFAULT_FPMATH_MODE", "BF16", 1);
  EXPECT_THAT(arithmetic_of_rank(3).at("environment"),
              AllOf(HasSubstr("ONEDNN_MAX_CPU_ISA=AVX2"), HasSubstr("ONEDNN_DEFAULT_FPMATH_MODE=BF16")));
  EXPECT_NE(arithmetic_of_rank(3).at("environment"), bits.at("environment"));
}

TEST(LastBits, ARankThatDiffersIsNamedOnceForEachThing) {
  const checkpoint::Metadata usual{{"threads", "8"}, {"kernels", "avx512"}};
  EXPECT_EQ(differences_between_ranks({usual, usual, usual}), Flags());
  EXPECT_THAT(differences_between_ranks(
                  {usual, usual, {{"threads", "4"}, {"kernels", "avx2"}}, {{"threads", "2"}, {"kernels", "avx512"}}}),
              ElementsAre(HasSubstr("kernels is avx2 on rank 2, avx512 on rank 0"),
                          HasSubstr("threads is 4 on rank 2, 8 on rank 0")));
}

checkpoint::WeightsInfo weights_of(const TrainConfig& config) {
  checkpoint::WeightsInfo info;
  info.model = config.model;
  return info;
}

TEST(InitFrom, TakesWeightsThatMeanTheSame) {
  const TrainConfig config = config_of({"--init_from=w", "--dropout=0.1", "--activation_checkpointing"});
  checkpoint::WeightsInfo info = weights_of(config);
  info.model.dropout = 0.3;
  info.model.zero_init = false;
  info.model.activation_checkpointing = false;
  info.path_parameters["sigma_min"] = "0.1";
  EXPECT_NO_THROW(check_same_meaning(info, config, "--init_from=w"));
}

TEST(Resumable, ACheckpointOlderThanAFlagWasMadeWithWhatThereWasThen) {
  const auto refusal = [](const Flags& now) {
    checkpoint::Manifest old = manifest_of_run(config_of({}), 100);
    for (const std::string name : {"path", "objective", "time_sampling", "stratified", "coupling", "vp_b0"})
      old.flags.erase(name);
    try {
      check_resumable(old, config_of(now), data::Fingerprint());
    } catch (const SharedError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_EQ(refusal({}), "");
  EXPECT_THAT(refusal({"--path=vp", "--objective=scoreflow", "--time_sampling=likelihood"}),
              AllOf(HasSubstr("--path is vp, the run's checkpoint was made with ot"),
                    HasSubstr("--objective is scoreflow, the run's checkpoint was made with fm"),
                    HasSubstr("--time_sampling is likelihood, the run's checkpoint was made with uniform")));
}

TEST(InitFrom, TellsApartTheNumbersOfAPath) {
  const TrainConfig config = config_of({"--init_from=w", "--path=vp", "--vp_b1=10"});
  checkpoint::WeightsInfo info = weights_of(config);
  info.path = "vp";
  info.path_parameters = flow::path_parameters(config.flow_config.path);
  EXPECT_NO_THROW(check_same_meaning(info, config, "--init_from=w"));
  info.path_parameters["vp_b1"] = "20";
  EXPECT_THAT([&] { check_same_meaning(info, config, "--init_from=" + config.init_from); },
              ThrowsMessage<SharedError>(AllOf(HasSubstr("vp_b1 was 20 there, is 10 here"), HasSubstr("--vp_b1=20"))));
}

TEST(Settings, PairsAndBlocksThatDoNotGoTogetherAreRefusedByName) {
  EXPECT_THAT(
      [] {
        config_of({"--objective=sm", "--coupling=nearest", "--time_sampling=likelihood"});
      },
      ThrowsMessage<SharedError>(AllOf(HasSubstr("--objective=sm does not go with --path=ot"),
                                       HasSubstr("--coupling=nearest"),
                                       HasSubstr("--time_sampling=likelihood does not go with --path=ot"))));
  EXPECT_TRUE(block_problems({"minibatch_ot", 25}, 100, 1).empty());
  EXPECT_TRUE(block_problems({"minibatch_ot", 25}, 100, 4).empty());
  EXPECT_TRUE(block_problems({"independent", 30}, 100, 4).empty());
  EXPECT_THAT(block_problems({"minibatch_ot", 30}, 100, 4),
              ElementsAre(AllOf(HasSubstr("--ot_block=30"), HasSubstr("25 slots"), HasSubstr("--data_groups=4"))));
}

TEST(Settings, NumbersOfTheFlowThatDoNothingAreRefusedByNameUnlessTheyAreTheDefaults) {
  EXPECT_THAT(
      [] {
        config_of({"--path=cosine", "--sigma_min=0.1", "--vp_b0=1", "--vp_b1=9", "--ve_smin=1", "--ve_smax=9",
                   "--polynomial_n=3", "--logit_mean=1", "--logit_std=2", "--ot_block=4"});
      },
      ThrowsMessage<SharedError>(AllOf(
          HasSubstr("--sigma_min=0.1 does nothing: --path=cosine has no such number"), HasSubstr("--vp_b0=1 does"),
          HasSubstr("--vp_b1=9 does"), HasSubstr("--ve_smin=1 does"), HasSubstr("--ve_smax=9 does"),
          HasSubstr("--polynomial_n=3 does"), HasSubstr("--logit_mean=1 does nothing: it is of --time_sampling"),
          HasSubstr("--logit_std=2 does"), HasSubstr("--ot_block=4 does nothing: it is of --coupling=minibatch_ot"))));
  EXPECT_NO_THROW(config_of({"--path=cosine", "--sigma_min=1e-5", "--vp_b1=20", "--logit_std=1", "--ot_block=128"}));
  EXPECT_NO_THROW(config_of({"--path=ve", "--ve_smin=0.1", "--ve_smax=9", "--time_sampling=logit_normal",
                             "--logit_mean=1", "--coupling=minibatch_ot", "--ot_block=4"}));
  EXPECT_THAT(
      [] {
        config_of({"--path=vpp", "--vp_b1=9"});
      },
      ThrowsMessage<SharedError>(
          AllOf(HasSubstr("--path=vpp: there is no such path"), Not(HasSubstr("--vp_b1=9 does nothing")))));
}

TEST(InitFrom, ListsEachThingThatWouldMeanSomethingElse) {
  const TrainConfig config = config_of({"--init_from=w.safetensors", "--time_scale=1", "--num_heads=2"});
  checkpoint::WeightsInfo info = weights_of(config_of({}));
  info.objective = "sm";
  info.path = "vp";
  info.model.image_size = 64;
  EXPECT_THAT([&] { check_same_meaning(info, config, "--init_from=" + config.init_from); },
              ThrowsMessage<SharedError>(
                  AllOf(HasSubstr("w.safetensors"), HasSubstr("time_scale was 1000 there, is 1 here"),
                        HasSubstr("num_heads was 4 there, is 2 here"), HasSubstr("Give --num_heads=4"),
                        HasSubstr("image_size was 64 there, is 32 here"),
                        HasSubstr("objective was sm there, is fm here"), HasSubstr("path was vp there, is ot here"))));
}

TEST(DropoutNote, IsForMasksThatAreNotKeyedBySample) {
  EXPECT_EQ(dropout_note(0.1, c10::Device(c10::kCPU)), "");
  EXPECT_EQ(dropout_note(0, c10::Device(c10::kCUDA, 0)), "");
  EXPECT_THAT(dropout_note(0.1, c10::Device(c10::kCUDA, 0)), HasSubstr("seeded per (step, rank, micro-batch)"));
}

TEST(Settings, ProblemsNameTheFlagOfThisProgramAndWhatWasFound) {
  EXPECT_THAT(
      [] {
        config_of({"--solver_steps=0", "--lr=-1e-9", "--adam_eps=-1e-12", "--clip_norm=-2", "--step_timeout=-3",
                   "--lease_seconds=inf", "--label_drop=7", "--lr_floor=5", "--ema_decays=1.5", "--sigma_min=2e-7"});
      },
      ThrowsMessage<SharedError>(AllOf(HasSubstr("--solver_steps=0"), Not(HasSubstr("--steps=0")),
                                       HasSubstr("--lr=-1e-09"), HasSubstr("--adam_eps=-1e-12"),
                                       HasSubstr("--clip_norm=-2"), HasSubstr("--step_timeout=-3"),
                                       HasSubstr("--lease_seconds=inf"), HasSubstr("--label_drop=7"),
                                       HasSubstr("--lr_floor=5"), HasSubstr("--ema_decays: 1.5"))));
}

}  // namespace
}  // namespace cfm::trainer
