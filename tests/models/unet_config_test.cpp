#include <gtest/gtest.h>

#include <cmath>
#include <cstdint>

#include "models/unet.h"

namespace cfm::models {
namespace {

TEST(UNetConfig, ComesBackFromItsMetadata) {
  UNetConfig config;
  config.image_size = 64;
  config.in_channels = 1;
  config.out_channels = 2;
  config.model_channels = 96;
  config.num_res_blocks = 3;
  config.channel_mult = {1, 2, 3};
  config.attention_resolutions = {};
  config.num_heads = 3;
  config.num_head_channels = 32;
  config.num_heads_upsample = 2;
  config.use_new_attention_order = false;
  config.use_scale_shift_norm = false;
  config.resblock_updown = false;
  config.conv_resample = false;
  config.zero_init = false;
  config.activation_checkpointing = true;
  config.dropout = 0.1;
  config.num_classes = 1000;
  config.null_class = true;
  config.time_scale = 0.3;
  const auto metadata = to_metadata(config);
  const UNetConfig back = unet_config_from_metadata(metadata);
  EXPECT_EQ(to_metadata(back), metadata);
  EXPECT_EQ(back.dropout, 0.1);
  EXPECT_EQ(back.time_scale, 0.3);
  EXPECT_EQ(back.channel_mult, config.channel_mult);
  EXPECT_TRUE(back.attention_resolutions.empty());
  EXPECT_FALSE(back.zero_init);
  EXPECT_TRUE(back.null_class);
  EXPECT_EQ(metadata.at("channel_mult"), "1,2,3");
  EXPECT_EQ(metadata.at("dropout"), "0.1");
  EXPECT_EQ(metadata.at("conv_resample"), "false");
  for (const auto& [name, value] : to_metadata({})) {  // every field was changed above, so none can be forgotten
    EXPECT_NE(metadata.at(name), value) << name;
  }
}

std::string error_of(const std::map<std::string, std::string>& metadata) {
  try {
    unet_config_from_metadata(metadata);
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

TEST(UNetConfig, NamesAMissingOrMalformedValue) {
  auto metadata = to_metadata({});
  metadata.erase("num_heads");
  EXPECT_NE(error_of(metadata).find("\"num_heads\" is missing"), std::string::npos);
  for (const auto& [name, value] : std::map<std::string, std::string>{{"image_size", "32x"},
                                                                      {"channel_mult", "1,2,"},
                                                                      {"channel_mult", "1;2"},
                                                                      {"dropout", ""},
                                                                      {"null_class", "1"}}) {
    metadata = to_metadata({});
    metadata[name] = value;
    EXPECT_NE(error_of(metadata).find('"' + name + "\" is \"" + value + '"'), std::string::npos) << name;
  }
}

TEST(UNetConfig, TheDefaultIsValid) { EXPECT_EQ(UNetConfig{}.validate(), Problems{}); }

bool mentions(const UNetConfig& config, const std::string& text) {
  for (const std::string& problem : config.validate()) {
    if (problem.find(text) != std::string::npos) return true;
  }
  return false;
}

TEST(UNetConfig, ListsAllProblemsAtOnceByName) {
  UNetConfig config;
  config.model_channels = 100;
  config.image_size = 20;
  config.dropout = 1.5;
  config.null_class = true;
  config.time_scale = 0;
  config.in_channels = 0;
  EXPECT_TRUE(mentions(config, "--model_channels * --channel_mult: 100 * 1 = 100"));
  EXPECT_TRUE(mentions(config, "image_size: 20 cannot be halved 3 times"));
  EXPECT_TRUE(mentions(config, "--dropout: 1.5"));
  EXPECT_TRUE(mentions(config, "--null_class"));
  EXPECT_TRUE(mentions(config, "--time_scale"));
  EXPECT_TRUE(mentions(config, "in_channels: 0"));
  EXPECT_THROW(UNet(config, 1), SharedError);
}

TEST(UNetConfig, RefusesSizesWhoseProductsWouldNotFit) {
  const auto with = [](const auto& change) {
    UNetConfig config;
    change(config);
    return config;
  };
  EXPECT_TRUE(
      mentions(with([](UNetConfig& c) { c.model_channels = INT64_MAX; }), "--model_channels: 9223372036854775807"));
  EXPECT_TRUE(mentions(with([](UNetConfig& c) { c.model_channels = INT64_MIN; }), "at most 1048576"));
  EXPECT_TRUE(mentions(with([](UNetConfig& c) {
                         c.channel_mult = {1, INT64_MIN};
                       }),
                       "--channel_mult: -9223372036854775808"));
  EXPECT_TRUE(mentions(with([](UNetConfig& c) {
                         c.channel_mult = {1, 100000};
                       }),
                       "--model_channels * --channel_mult: 12800000"));
  EXPECT_TRUE(mentions(with([](UNetConfig& c) { c.num_res_blocks = 1001; }),
                       "--num_res_blocks: 1001; it must be at most 1000"));
  EXPECT_TRUE(mentions(with([](UNetConfig& c) { c.time_scale = INFINITY; }), "--time_scale"));
}

TEST(UNetConfig, RefusesAttentionWhereThereIsNoLevelOrNoWholeHead) {
  UNetConfig config;
  config.attention_resolutions = {14};
  EXPECT_TRUE(mentions(config, "no level of 14 pixels; its levels have 32,16,8,4"));
  config.attention_resolutions = {16};
  config.num_heads = 3;
  EXPECT_TRUE(mentions(config, "--num_heads: 3 does not divide the 256 channels at 16 pixels"));
  config.num_head_channels = 48;
  EXPECT_TRUE(mentions(config, "--num_head_channels: 48"));
  EXPECT_FALSE(mentions(config, "--num_heads: 3"));
  config.channel_mult = {};
  EXPECT_TRUE(mentions(config, "--channel_mult: 0 factors"));
}

}  // namespace
}  // namespace cfm::models
