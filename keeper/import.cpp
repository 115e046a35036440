#include "keeper/import.h"

#include <ATen/ops/isfinite.h>
#include <ATen/ops/item.h>

#include <map>
#include <utility>

#include "base/durable_file.h"
#include "base/grouped_number.h"
#include "base/log.h"
#include "base/number_text.h"
#include "base/shape.h"
#include "keeper/fed_time.h"
#include "keeper/state_dict.h"
#include "keeper/tensor_hints.h"
#include "keeper/text.h"

namespace cfm::keeper {
namespace {

namespace fs = std::filesystem;
using Tensors = std::map<std::string, at::Tensor>;
using Shapes = std::vector<std::pair<std::string, std::vector<int64_t>>>;

// Channels of the images that the first convolution takes; `unless_there` if it is not there: its shape is told later.
int64_t channels_of(const Tensors& tensors, int64_t unless_there) {
  const auto first = tensors.find("input_blocks.0.0.weight");
  return first == tensors.end() || first->second.dim() != 4 ? unless_there : first->second.size(1);
}

// guided-diffusion's networks with a learnt variance have twice the outputs: the noise, then what the variance is made
// of.
void keep_first_half_of_outputs(Tensors& tensors, int64_t channels) {
  for (const char* name : {"out.2.weight", "out.2.bias"}) {
    const auto found = tensors.find(name);
    if (found == tensors.end() || found->second.dim() == 0) continue;
    check(found->second.size(0) == 2 * channels, "--learn_sigma: '" + std::string(name) + "' is " +
                                                     shape_text(found->second.sizes()) + ", expected " +
                                                     std::to_string(2 * channels) + " outputs for images of " +
                                                     std::to_string(channels) + " channels; leave --learn_sigma out");
    found->second = found->second.narrow(0, 0, channels);
  }
}

Problems misfits(const Tensors& tensors, const Shapes& shapes) {
  Problems problems;
  std::map<std::string, std::vector<int64_t>> expected(shapes.begin(), shapes.end());
  for (const auto& [name, shape] : shapes) {
    const auto found = tensors.find(name);
    if (found == tensors.end()) {
      problems.push_back("'" + name + "' " + shape_text(shape) + " is missing");
    } else if (found->second.sizes() != at::IntArrayRef(shape)) {
      problems.push_back("'" + name + "' is " + shape_text(found->second.sizes()) + ", expected " + shape_text(shape));
    } else if (!found->second.is_floating_point()) {
      problems.push_back("'" + name + "' is of integers, expected floating-point numbers");
    } else if (!found->second.isfinite().all().item<bool>()) {
      problems.push_back("'" + name + "' holds numbers that are not finite");
    }
  }
  for (const auto& [name, tensor] : tensors)
    if (!expected.contains(name))
      problems.push_back("'" + name + "' " + shape_text(tensor.sizes()) + " is not expected");
  return problems;
}

void check_fits(const Tensors& tensors, const models::UNetConfig& model, const std::string& where) {
  const Problems problems = misfits(tensors, models::parameter_shapes(model));
  if (problems.empty()) return;
  std::string text = where + " does not fit the network of these flags, " +
                     counted(static_cast<int64_t>(problems.size()), "tensor") + ":";
  for (const std::string& problem : problems) text += "\n  " + problem;
  for (const std::string& hint : tensor_hints(tensors, model)) text += "\n  " + hint;
  throw Error(text);
}

void write_weights(const ImportJob& job, const checkpoint::NamedTensors& parameters,
                   const checkpoint::Metadata& metadata) {
  const fs::path unfinished = job.out.string() + ".tmp";
  try {
    checkpoint::write_safetensors(unfinished, parameters, metadata);
    rename_durably(unfinished, job.out);
  } catch (const Error&) {
    std::error_code ignored;
    fs::remove(unfinished, ignored);
    throw;
  }
}

std::string meaning_text(const ImportJob& job) {
  const checkpoint::WeightsInfo& info = job.info;
  std::string path = info.path;
  for (const auto& [name, value] : info.path_parameters) path += ", " + name + " " + value;
  return "network     " + std::to_string(info.model.in_channels) + "x" + std::to_string(info.model.image_size) + "x" +
         std::to_string(info.model.image_size) + ", " +
         (info.model.num_classes > 0 ? grouped(info.model.num_classes) + " classes" : "no classes") +
         (info.model.null_class ? " and none" : "") + ", " + (info.model.use_new_attention_order ? "new" : "legacy") +
         " attention order\n" +  //
         "meaning     objective " + info.objective + " on the path " + path + "; t is fed as " +
         fed_time_text(info.model.time_scale, job.time_reversed, job.time_shift);
}

}  // namespace

Problems ImportJob::validate() const {
  Problems problems = info.model.validate();
  if (from.empty()) problems.emplace_back("--from is missing: a state dict as .safetensors");
  if (out.empty()) problems.emplace_back("--out is missing: the weights file to write");
  if (!out.empty() && fs::exists(out))
    problems.push_back("--out=" + out.string() + " is there already: give another name, or remove it");
  if (!(info.ema_decay >= 0 && info.ema_decay < 1))
    problems.push_back("--ema_decay=" + number_text(info.ema_decay) + ": expected 0 (no average) or more, below 1");
  return problems;
}

void import_weights(const ImportJob& asked) {
  check_no_problems(asked.validate());
  ImportJob job = asked;
  const StateDict state = read_state_dict(job.from, job.part);
  Tensors tensors(state.tensors.begin(), state.tensors.end());
  models::UNetConfig& model = job.info.model;
  model.in_channels = model.out_channels = channels_of(tensors, model.in_channels);
  check(model.in_channels == 1 || model.in_channels == 3,
        "--from=" + job.from.string() + ": its network takes images of " + std::to_string(model.in_channels) +
            " channels; expected 1 or 3");
  if (job.learn_sigma) keep_first_half_of_outputs(tensors, model.in_channels);
  check_fits(tensors, model, "--from=" + job.from.string());

  at::Tensor& first = tensors.at("time_embed.0.weight");
  first = fed_by_t(first, model.time_scale, job.time_reversed, job.time_shift);
  checkpoint::NamedTensors parameters;
  for (const auto& [name, shape] : models::parameter_shapes(model))
    parameters.emplace_back(name, tensors.at(name).to(at::kFloat));
  checkpoint::Metadata metadata = checkpoint::to_metadata(job.info);
  metadata["imported_from"] = job.from.filename().string();
  metadata["imported_part"] = state.part;
  metadata["imported_xxh3_128"] = checkpoint::file_hash(job.from);
  metadata["imported_fed_time"] = fed_time_text(model.time_scale, job.time_reversed, job.time_shift);
  metadata["trained_pixel_map"] = job.trained_pixel_map;
  write_weights(job, parameters, metadata);

  int64_t numbers = 0;
  for (const auto& [name, tensor] : parameters) numbers += tensor.numel();
  say("read        " + job.from.string() +
      (state.part.empty() ? "" : ", " + state.part + " of " + listed(state.parts)) + ": " +
      grouped(static_cast<int64_t>(parameters.size())) + " tensors, " + grouped(numbers) + " numbers");
  say(meaning_text(job));
  if (!job.assumed.empty())
    say("assumed     " + listed(job.assumed) +
        ": not given, and tensors do not tell. Where one was otherwise in training, the outputs are others");
  if (metadata["trained_pixel_map"] != metadata["pixel_map"])
    say("pixels      the weights were trained with " + job.trained_pixel_map + ", here they are fed " +
        metadata["pixel_map"] + ": at most half a grey level apart where the first is x/127.5 - 1");
  say("written     " + job.out.string() + ": " + checkpoint::weights_name(job.info) + " of step " +
      grouped(job.info.step) + ", XXH3-128 " + checkpoint::file_hash(job.out));
}

}  // namespace cfm::keeper
