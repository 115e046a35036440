#include "evaluator/fid_text.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <map>
#include <numeric>
#include <optional>
#include <vector>

#include "base/source_revision.h"

namespace cfm::evaluator {
namespace {

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  std::array<char, 200> text{};
  std::snprintf(text.data(), text.size(), pattern, values...);
  return text.data();
}

constexpr std::array kMeasures{"fid", "sfid", "is_10_splits", "is_splits_of_5000", "kid", "precision", "recall"};

// A measure of a repeat; nothing where it was not measured.
std::optional<double> measure_of(const Json& repeat, const char* name) {
  const Json& value = repeat.at(name);
  if (value.is_null()) return std::nullopt;
  return (value.is_object() ? value.at("mean") : value).get<double>();
}

}  // namespace

std::vector<std::string> deficiencies(const FidPlan& plan, const FidInputs& inputs) {
  std::vector<std::string> found;
  const int64_t dimensions = inputs.features.dimensions;
  for (const std::string& why : {rank_deficiency("samples", plan.count, dimensions),
                                 rank_deficiency("reference images", inputs.reference.count, dimensions)})
    if (!why.empty()) found.push_back(why);
  return found;
}

namespace {

Json identity_json(const std::map<std::string, std::string>& identity) { return Json(identity); }

Json split_json(const ImageSource& images) { return images.split.empty() ? Json(nullptr) : Json(images.split); }

Json samples_json(const FidInputs& inputs) {
  if (!inputs.weights)
    return {{"from", inputs.samples->what},
            {"identity", identity_json(inputs.samples->identity)},
            {"split", split_json(*inputs.samples)}};
  const checkpoint::WeightsInfo& info = inputs.weights->info;
  return {{"file", inputs.weights->file.string()},
          {"name", checkpoint::weights_name(info)},
          {"step", info.step},
          {"xxh3_128", inputs.weights->hash},
          {"path", info.path},
          {"objective", info.objective},
          {"t_end", info.t_end},
          {"training_dataset_fingerprint", info.dataset_fingerprint},
          {"training_dataset_images_fingerprint", info.dataset_images_fingerprint},
          {"branched_from", info.branched_from}};
}

}  // namespace

std::string settings_text(const FidPlan& plan, const FidJob& job, const FidInputs& inputs, const Machine& machine) {
  std::string text;
  if (inputs.weights) {
    const checkpoint::Weights& weights = *inputs.weights;
    const flow::OdeConfig& ode = plan.sampling.ode;
    text += "weights      " + weights.file.string() + "  " + checkpoint::weights_name(weights.info) + ", step " +
            std::to_string(weights.info.step) + ", xxh3 " + weights.hash + "\n";
    text += "samples      " + std::to_string(plan.repeats) + " x " + std::to_string(plan.count) + " of " +
            data::shape_text(inputs.shape) + ", seed " + std::to_string(plan.sampling.seed) + "\n";
    text +=
        "solver       " + (job.sweep ? job.sweep_over.text() + ", " + ode.grid + " grids" : ode.text()) + ", float32\n";
  } else {
    const bool all = plan.count == inputs.samples->count;
    text +=
        "samples      " + (all ? "" : "the first " + std::to_string(plan.count) + " of ") + inputs.samples->what + "\n";
  }
  const Reference& reference = inputs.reference;
  text += "reference    " + reference.what + (reference.origin.empty() ? "" : ", " + reference.origin) + "\n";
  text += "features     " + inputs.features.name + ", " + std::to_string(inputs.features.dimensions) + " dimensions, " +
          inputs.features.file.string() + ", xxh3 " + inputs.features.hash + "\n";
  text += "machine      " + std::to_string(machine.ranks) + " ranks, " + machine.device + ", " +
          std::to_string(machine.threads) + " threads a rank, " + std::to_string(plan.sampling.net_batch) +
          " samples a network call\n";
  text += "result       " + plan.file.json().string();
  for (const std::string& why : deficiencies(plan, inputs)) text += "\nnote         " + why;
  return text;
}

std::string repeat_text(const Json& repeat, int64_t number, int64_t repeats) {
  std::string text = "repeat " + std::to_string(number + 1) + "/" + std::to_string(repeats) + "  ";
  for (const char* name : kMeasures)
    if (const std::optional<double> value = measure_of(repeat, name)) text += format("  %s %.5g", name, *value);
  if (repeat.contains("nfe")) text += format("  nfe %.1f", repeat["nfe"].get<double>());
  return text;
}

std::string outcome_text(const FidPlan& plan, const Json& numbers, double seconds) {
  std::string text;
  for (const char* name : kMeasures) {
    if (!numbers.contains(name)) continue;
    const Json& value = numbers[name];
    text += format("%-18s min %.6g  mean %.6g  max %.6g\n", name, value["min"].get<double>(),
                   value["mean"].get<double>(), value["max"].get<double>());
  }
  return text + format("finished     in %.1f s\n", seconds) + "written      " + plan.file.json().string();
}

Json numbers_json(const Json& repeats, const FidPlan& plan, const FidInputs& inputs) {
  Json numbers;
  for (const char* name : kMeasures) {
    std::vector<double> values;
    for (const Json& repeat : repeats)
      if (const std::optional<double> value = measure_of(repeat, name)) values.push_back(*value);
    if (values.empty()) continue;
    const double sum = std::accumulate(values.begin(), values.end(), 0.0);
    const auto [least, most] = std::minmax_element(values.begin(), values.end());
    numbers[name] = {{"min", *least}, {"mean", sum / static_cast<double>(values.size())}, {"max", *most}};
  }
  const Reference& reference = inputs.reference;
  numbers["repeats"] = repeats;
  numbers["samples"] = plan.count;
  numbers["reference_images"] = reference.count > 0 ? Json(reference.count) : Json(nullptr);
  numbers["reference_features_kept"] = reference.kept.defined() ? reference.kept.size(0) : 0;
  numbers["rank_deficient"] = deficiencies(plan, inputs);
  if (!reference.kept.defined())
    numbers["not_measured"] = "kid, precision and recall: the reference has statistics alone, no images";
  else if (!numbers.contains("precision"))
    numbers["not_measured"] = "precision and recall: they look for more neighbours than there are (--neighbours)";
  return numbers;
}

Json result_json(const Json& numbers, const FidPlan& plan, const FidJob& job, const FidInputs& inputs,
                 const Machine& machine, double seconds) {
  Json result{{"format_version", 1}, {"metric", plan.file.metric}, {"tag", plan.file.tag}};
  result.update(numbers);
  result["settings"] = plan.settings;
  result["command"] = launched(job.command, machine.ranks);
  result["protocol"] = {
      {"quantisation", inputs.weights ? flow::quantisation(plan.sampling.quantise).formula : "bytes as given"},
      {"neighbours", job.neighbours},
      {"features", inputs.features.name + ": " + inputs.features.input},
      {"statistics", "mean and covariance (n - 1) in float64"}};
  result[inputs.weights ? "weights" : "images"] = samples_json(inputs);
  const Reference& reference = inputs.reference;
  result["reference"] = {{"from", reference.what},
                         {"identity", identity_json(reference.identity)},
                         {"split", reference.images ? split_json(*reference.images) : Json(nullptr)},
                         {"statistics", reference.origin}};
  result["features_file"] = inputs.features.file.string();
  if (!job.keep_samples.empty()) result["samples_file"] = job.keep_samples.string();
  result["machine"] = to_json(machine);
  result["source_revision"] = source_revision();
  result["written"] = utc_now();
  result["seconds"] = seconds;
  return result;
}

}  // namespace cfm::evaluator
