#include "checkpoint/weights.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/number_text.h"
#include "base/shape.h"
#include "checkpoint/store.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr const char* kModelPrefix = "model.";
constexpr const char* kPathPrefix = "path.";
constexpr const char* kSuffix = ".safetensors";
constexpr const char* kRaw = "raw";
constexpr const char* kEmaPrefix = "ema_";
constexpr const char* kTimeDirection = "t=0 noise, t=1 data";
constexpr const char* kPixelMap = "y = (x + u)/128 - 1";
constexpr const char* kWeightsVersion = "1";

std::string qkv_order(const models::UNetConfig& model) {
  return model.use_new_attention_order ? "all q, all k, all v" : "q, k, v of each head";
}

std::string image_shape(const models::UNetConfig& model) {
  return std::to_string(model.in_channels) + "," + std::to_string(model.image_size) + "," +
         std::to_string(model.image_size);
}

// The metadata of one file, read by key.
class Reader {
 public:
  Reader(const Metadata& metadata, std::string where) : metadata_(metadata), where_(std::move(where)) {}
  std::string text(const std::string& key) const {
    const auto found = metadata_.find(key);
    check(found != metadata_.end(), where_ + ": __metadata__ has no '" + key + "': not a weights file of cfm");
    return found->second;
  }
  template <typename T>
  T number(const std::string& key) const {
    const std::string value = text(key);
    T number{};
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
    check(error == std::errc() && end == value.data() + value.size(),
          where_ + ": __metadata__ '" + key + "' is '" + value + "', expected a number");
    return number;
  }
  // What this program takes for granted.
  void expect(const std::string& key, const std::string& expected) const {
    const std::string found = text(key);
    check(found == expected,
          where_ + ": __metadata__ '" + key + "' is '" + found + "', this program expects '" + expected + "'");
  }
  Metadata with_prefix(std::string_view prefix) const {
    Metadata fields;
    for (const auto& [key, value] : metadata_) {
      if (key.starts_with(prefix)) fields[key.substr(prefix.size())] = value;
    }
    return fields;
  }
  models::UNetConfig model() const {
    const Metadata fields = with_prefix(kModelPrefix);
    check(!fields.empty(), where_ + ": __metadata__ describes no network ('" + kModelPrefix +
                               "…'): not a weights file of cfm (exp_avg and exp_avg_sq are the optimizer's)");
    try {
      models::UNetConfig config = models::unet_config_from_metadata(fields);
      check_no_problems(config.validate());
      return config;
    } catch (const Error& e) {
      throw Error(where_ + ": " + e.what());
    }
  }

 private:
  const Metadata& metadata_;
  std::string where_;
};

// Compared before the network is made: a file of another network is told apart at no cost.
void check_fits(const NamedTensors& tensors, const models::UNetConfig& config, const std::string& where) {
  std::map<std::string, std::vector<int64_t>> found;
  for (const auto& [name, tensor] : tensors) found[name] = tensor.sizes().vec();
  for (const auto& [name, shape] : models::parameter_shapes(config)) {
    const auto tensor = found.find(name);
    check(tensor != found.end(), where + ": tensor '" + name + "' " + shape_text(shape) + " is missing");
    check(tensor->second == shape, where + ": tensor '" + name + "' is " + shape_text(tensor->second) + ", expected " +
                                       shape_text(shape) + " by the file's own description of the network");
  }
}

std::string listed(const std::vector<std::string>& names) {
  std::string all;
  for (const std::string& name : names) all += (all.empty() ? "" : ", ") + name;
  return all;
}

// "raw" and "ema_…" of a checkpoint, the longest EMA last.
std::vector<std::string> weights_in(const Manifest& manifest) {
  std::vector<std::pair<double, std::string>> by_decay;
  for (const FileRecord& file : manifest.files) {
    if (!file.name.ends_with(kSuffix)) continue;
    const std::string name = file.name.substr(0, file.name.size() - std::string_view(kSuffix).size());
    if (name == "model") by_decay.emplace_back(-1, kRaw);
    if (!name.starts_with(kEmaPrefix)) continue;
    double decay = 0;
    std::from_chars(name.data() + std::string_view(kEmaPrefix).size(), name.data() + name.size(), decay);
    by_decay.emplace_back(decay, name);
  }
  std::ranges::sort(by_decay);
  std::vector<std::string> names;
  names.reserve(by_decay.size());
  for (const auto& [decay, name] : by_decay) names.push_back(name);
  return names;
}

}  // namespace

Metadata to_metadata(const WeightsInfo& info) {
  Metadata metadata{{"format", "pt"},  // what Python's loaders look for
                    {"cfm_weights_version", kWeightsVersion},
                    {"qkv_order", qkv_order(info.model)},
                    {"image_shape", image_shape(info.model)},
                    {"time_direction", kTimeDirection},
                    {"time_scale", number_text(info.model.time_scale)},
                    {"t_end", number_text(info.t_end)},
                    {"pixel_map", kPixelMap},
                    {"classes", std::to_string(info.model.num_classes)},
                    {"null_label", std::to_string(info.model.null_label())},
                    {"path", info.path},
                    {"objective", info.objective},
                    {"sigma0", number_text(info.sigma0)},
                    {"ema_decay", number_text(info.ema_decay)},
                    {"step", std::to_string(info.step)},
                    {"dataset_fingerprint", info.dataset_fingerprint},
                    {"dataset_images_fingerprint", info.dataset_images_fingerprint}};
  for (const auto& [name, value] : models::to_metadata(info.model)) metadata[kModelPrefix + name] = value;
  for (const auto& [name, value] : info.path_parameters) metadata[kPathPrefix + name] = value;
  if (!info.branched_from.empty()) metadata["branched_from"] = info.branched_from;
  return metadata;
}

WeightsInfo weights_info(const Metadata& metadata, const std::string& where) {
  const Reader reader(metadata, where);
  WeightsInfo info;
  info.model = reader.model();
  reader.expect("cfm_weights_version", kWeightsVersion);
  reader.expect("time_direction", kTimeDirection);
  reader.expect("pixel_map", kPixelMap);
  reader.expect("qkv_order", qkv_order(info.model));
  info.path = reader.text("path");
  info.objective = reader.text("objective");
  info.path_parameters = reader.with_prefix(kPathPrefix);
  if (metadata.contains("sigma_min")) {  // the first files of this version: of ot alone
    info.path_parameters["sigma_min"] = reader.text("sigma_min");
  } else {
    info.sigma0 = reader.number<double>("sigma0");
  }
  info.t_end = reader.number<double>("t_end");
  info.ema_decay = reader.number<double>("ema_decay");
  info.step = reader.number<int64_t>("step");
  info.dataset_fingerprint = reader.text("dataset_fingerprint");
  if (metadata.contains("dataset_images_fingerprint"))  // not in the first files of this version
    info.dataset_images_fingerprint = reader.text("dataset_images_fingerprint");
  if (metadata.contains("branched_from")) info.branched_from = reader.text("branched_from");
  return info;
}

std::string weights_name(const WeightsInfo& info) {
  return info.ema_decay == 0 ? kRaw : kEmaPrefix + number_text(info.ema_decay);
}

Weights load_weights_file(const fs::path& file) {
  const SafetensorsFile content = read_safetensors(file);
  Weights weights{weights_info(content.metadata, file.string()), nullptr, file, file_hash(file)};
  check_fits(content.tensors, weights.info.model, file.string());
  weights.net = std::make_shared<models::UNet>(weights.info.model, /*seed=*/0);
  weights.net->eval();
  const NamedTensors parameters = models::named_parameters(*weights.net);
  load_tensors(content.tensors, parameters, file.string());
  for (const auto& [name, parameter] : parameters) parameter.set_requires_grad(false);
  return weights;
}

int64_t choose_step(const fs::path& run_dir, int64_t step) {
  check(fs::is_directory(run_dir), "--run_dir=" + run_dir.string() + ": there is no such folder");
  const std::vector<int64_t> steps = committed_steps(run_dir);
  check(!steps.empty(), "--run_dir=" + run_dir.string() + " has no checkpoints yet: " +
                            checkpoints_folder(run_dir).string() + " holds no step_… folder");
  if (step == kNewestStep) return steps.back();
  std::vector<std::string> names;
  names.reserve(steps.size());
  for (const int64_t known : steps) names.push_back(std::to_string(known));
  check(std::ranges::find(steps, step) != steps.end(),
        "--step=" + std::to_string(step) + ": " + run_dir.string() + " has checkpoints of steps " + listed(names));
  return step;
}

Weights load_run_weights(const fs::path& run_dir, int64_t step, const std::string& weights) {
  const fs::path dir = checkpoints_folder(run_dir) / step_name(choose_step(run_dir, step));
  const Manifest manifest = read_manifest(dir);
  const std::vector<std::string> names = weights_in(manifest);
  check(!names.empty(), dir.string() + " holds no weights");
  const std::string chosen = weights.empty() ? names.back() : weights;
  check(std::ranges::find(names, chosen) != names.end(),
        "--weights=" + weights + ": " + dir.string() + " holds " + listed(names));
  const std::string file = (chosen == kRaw ? "model" : chosen) + kSuffix;
  const auto record = std::ranges::find(manifest.files, file, &FileRecord::name);
  try {
    verify_file(dir / file, *record);
  } catch (const Error& e) {
    std::vector<std::string> others = names;
    std::erase(others, chosen);
    throw Error(std::string(e.what()) + ". Take other --weights of this step (" + listed(others) +
                    ") or another --step; a resume of the run looks for the newest checkpoint that is whole",
                e.exit_code());
  }
  return load_weights_file(dir / file);
}

}  // namespace cfm::checkpoint
