#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdint>
#include <string_view>

#include "base/number_text.h"
#include "models/norm_silu.h"
#include "models/unet.h"

namespace cfm::models {
namespace {

// Calls f(name, field) for every field.
template <class Config, class F>
void for_each_field(Config& config, const F& f) {
  f("image_size", config.image_size);
  f("in_channels", config.in_channels);
  f("out_channels", config.out_channels);
  f("model_channels", config.model_channels);
  f("num_res_blocks", config.num_res_blocks);
  f("channel_mult", config.channel_mult);
  f("attention_resolutions", config.attention_resolutions);
  f("num_heads", config.num_heads);
  f("num_head_channels", config.num_head_channels);
  f("num_heads_upsample", config.num_heads_upsample);
  f("use_new_attention_order", config.use_new_attention_order);
  f("use_scale_shift_norm", config.use_scale_shift_norm);
  f("resblock_updown", config.resblock_updown);
  f("conv_resample", config.conv_resample);
  f("zero_init", config.zero_init);
  f("activation_checkpointing", config.activation_checkpointing);
  f("dropout", config.dropout);
  f("num_classes", config.num_classes);
  f("null_class", config.null_class);
  f("time_scale", config.time_scale);
}

std::string to_text(int64_t value) { return number_text(value); }
std::string to_text(double value) { return number_text(value); }
std::string to_text(bool value) { return value ? "true" : "false"; }
std::string to_text(const std::vector<int64_t>& values) {
  std::string text;
  for (const int64_t value : values) text += (text.empty() ? "" : ",") + number_text(value);
  return text;
}

template <class Number>
bool parse_number(std::string_view text, Number& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end == text.data() + text.size();
}

bool parse(std::string_view text, int64_t& value) { return parse_number(text, value); }
bool parse(std::string_view text, double& value) { return parse_number(text, value); }
bool parse(std::string_view text, bool& value) {
  value = text == "true";
  return value || text == "false";
}
bool parse(std::string_view text, std::vector<int64_t>& values) {
  values.clear();
  while (!text.empty()) {
    const size_t comma = text.find(',');
    int64_t value = 0;
    if (!parse_number(text.substr(0, comma), value)) return false;
    values.push_back(value);
    if (comma == std::string_view::npos) break;
    text.remove_prefix(comma + 1);
    if (text.empty()) return false;
  }
  return true;
}

const char* expected(const int64_t&) { return "an integer"; }
const char* expected(const double&) { return "a number"; }
const char* expected(const bool&) { return "true or false"; }
const char* expected(const std::vector<int64_t>&) { return "integers separated by commas"; }

void check_channels(const UNetConfig& config, Problems& problems) {
  for (const int64_t mult : config.channel_mult) {
    if (mult < 1) {
      problems.push_back("--channel_mult: " + to_text(config.channel_mult) + "; every factor must be at least 1");
      return;
    }
    const int64_t channels = config.model_channels * mult;
    if (channels < 1 || channels % kNormGroups != 0) {
      problems.push_back("--model_channels * --channel_mult: " + to_text(config.model_channels) + " * " +
                         to_text(mult) + " = " + to_text(channels) + "; GroupNorm needs a multiple of " +
                         to_text(kNormGroups));
    }
  }
}

// Heads must divide the channels of every level that has attention; the last level always has it (the middle block).
void check_heads(const UNetConfig& config, Problems& problems) {
  int64_t resolution = config.image_size;
  for (size_t level = 0; level < config.channel_mult.size(); ++level, resolution /= 2) {
    const bool last = level + 1 == config.channel_mult.size();
    const bool attends =
        std::ranges::find(config.attention_resolutions, resolution) != config.attention_resolutions.end();
    if (!last && !attends) continue;
    const int64_t channels = config.model_channels * config.channel_mult[level];
    const auto complain = [&](const char* name, int64_t value) {
      if (value < 1 || channels % value != 0) {
        problems.push_back(std::string(name) + ": " + to_text(value) + " does not divide the " + to_text(channels) +
                           " channels at " + to_text(resolution) + " pixels");
      }
    };
    if (config.num_head_channels != -1) {
      complain("--num_head_channels", config.num_head_channels);
      continue;
    }
    complain("--num_heads", config.num_heads);
    if (config.num_heads_upsample != -1 && attends) complain("--num_heads_upsample", config.num_heads_upsample);
  }
}

void check_resolutions(const UNetConfig& config, Problems& problems) {
  const auto levels = static_cast<int64_t>(config.channel_mult.size());
  if (levels == 0 || levels > 16) {
    problems.push_back("--channel_mult: " + to_text(levels) + " factors; one a resolution is needed, 1 to 16 of them");
    return;
  }
  const int64_t factor = int64_t{1} << (levels - 1);
  if (config.image_size < 1 || config.image_size % factor != 0) {
    problems.push_back("image_size: " + to_text(config.image_size) + " cannot be halved " + to_text(levels - 1) +
                       " times (--channel_mult has " + to_text(levels) + " levels); it must be a multiple of " +
                       to_text(factor));
    return;
  }
  std::vector<int64_t> legal;
  for (int64_t i = 0; i < levels; ++i) legal.push_back(config.image_size >> i);
  for (const int64_t resolution : config.attention_resolutions) {
    if (std::ranges::find(legal, resolution) == legal.end()) {
      problems.push_back("--attention_resolutions: the network has no level of " + to_text(resolution) +
                         " pixels; its levels have " + to_text(legal));
    }
  }
  check_heads(config, problems);
}

// Numbers whose products would not fit: a damaged or hostile file may say anything.
Problems oversizes(const UNetConfig& config) {
  constexpr int64_t kMostChannels = 1 << 20;
  Problems problems;
  const auto bounded = [&problems](const char* name, int64_t value, int64_t most) {
    if (value > most || value < -most)
      problems.push_back(std::string(name) + ": " + to_text(value) + "; it must be at most " + to_text(most));
  };
  bounded("image_size", config.image_size, 1 << 16);
  bounded("in_channels", config.in_channels, kMostChannels);
  bounded("out_channels", config.out_channels, kMostChannels);
  bounded("--num_res_blocks", config.num_res_blocks, 1000);
  bounded("--num_classes", config.num_classes, INT32_MAX);
  bounded("--model_channels", config.model_channels, kMostChannels);
  for (const int64_t mult : config.channel_mult) bounded("--channel_mult", mult, kMostChannels);
  if (!problems.empty()) return problems;
  for (const int64_t mult : config.channel_mult)
    bounded("--model_channels * --channel_mult", config.model_channels * mult, kMostChannels);
  return problems;
}

}  // namespace

Problems UNetConfig::validate() const {
  Problems problems = oversizes(*this);
  if (!problems.empty()) return problems;
  const auto at_least_one = [&problems](const char* name, int64_t value) {
    if (value < 1) problems.push_back(std::string(name) + ": " + to_text(value) + "; it must be at least 1");
  };
  at_least_one("in_channels", in_channels);
  at_least_one("out_channels", out_channels);
  at_least_one("--num_res_blocks", num_res_blocks);
  check_channels(*this, problems);
  check_resolutions(*this, problems);
  if (!(dropout >= 0 && dropout <= 0.99)) problems.push_back("--dropout: " + to_text(dropout) + " is not in [0, 0.99]");
  if (num_classes < 0) problems.push_back("--num_classes: " + to_text(num_classes) + "; 0 means no labels");
  if (null_class && num_classes <= 0)
    problems.push_back("--null_class: there are no classes to drop; set --num_classes too");
  if (!(time_scale > 0 && std::isfinite(time_scale)))
    problems.push_back("--time_scale: " + to_text(time_scale) + "; it must be positive (1000 or 1)");
  return problems;
}

std::map<std::string, std::string> to_metadata(const UNetConfig& config) {
  std::map<std::string, std::string> metadata;
  for_each_field(config, [&metadata](const char* name, const auto& field) { metadata[name] = to_text(field); });
  return metadata;
}

UNetConfig unet_config_from_metadata(const std::map<std::string, std::string>& metadata) {
  UNetConfig config;
  for_each_field(config, [&metadata](const char* name, auto& field) {
    const auto found = metadata.find(name);
    check(found != metadata.end(),
          std::string("model config: \"") + name + "\" is missing; " + expected(field) + " was expected");
    check(parse(found->second, field), std::string("model config: \"") + name + "\" is \"" + found->second + "\"; " +
                                           expected(field) + " was expected");
  });
  return config;
}

}  // namespace cfm::models
