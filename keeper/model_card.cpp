#include "keeper/model_card.h"

#include <nlohmann/json.hpp>
#include <optional>

#include "base/durable_file.h"
#include "base/grouped_number.h"
#include "base/number_text.h"
#include "keeper/checksums.h"
#include "keeper/text.h"

namespace cfm::keeper {
namespace {

using Json = nlohmann::ordered_json;

std::string row(const std::string& a, const std::string& b) { return "| " + a + " | " + b + " |\n"; }
std::string code(const std::string& text) { return "`" + text + "`"; }
std::string block(const std::string& text) { return "```\n" + text + "\n```\n"; }

std::string path_text(const checkpoint::WeightsInfo& info) {
  std::string text = info.path;
  for (const auto& [name, value] : info.path_parameters) text += ", " + name + " " + value;
  return text;
}

std::string classes_text(const models::UNetConfig& model) {
  if (model.num_classes == 0) return "none";
  return grouped(model.num_classes) +
         (model.null_class ? ", and label " + std::to_string(model.null_label()) + " for none" : "");
}

std::string facts_table(const CardContents& contents) {
  const checkpoint::Manifest& manifest = contents.manifest;
  const checkpoint::WeightsInfo& info = contents.weights.front().info;
  const models::UNetConfig& model = info.model;
  const std::string size = std::to_string(model.image_size);
  return "| | |\n|---|---|\n" + row("network", "ADM's U-Net, " + grouped(contents.parameters) + " parameters") +
         row("images", std::to_string(model.in_channels) + " x " + size + " x " + size) +
         row("classes", classes_text(model)) + row("objective", info.objective) + row("path", path_text(info)) +
         row("trained", grouped(manifest.progress.step) + " steps, " + grouped(manifest.progress.images_seen) +
                            " images, " + grouped(manifest.progress.optimizer_steps) + " updates applied") +
         row("data", "fingerprint " + code(manifest.dataset_fingerprint) +
                         (manifest.dataset_images_fingerprint.empty()
                              ? ""
                              : ", images " + code(manifest.dataset_images_fingerprint))) +
         row("program", "cfm " + code(manifest.source_revision));
}

std::string files_table(const CardContents& contents) {
  std::string text = "| file | what | size |\n|---|---|---|\n";
  for (const ExportedWeights& file : contents.weights)
    text += "| " + code(file.record.name) + " | " +
            (file.info.ema_decay == 0 ? "the weights themselves"
                                      : "their exponential moving average, decay " + number_text(file.info.ema_decay)) +
            " | " + bytes_text(file.record.bytes) + " |\n";
  return text + "| `train.flags` | every flag of the training |  |\n" +
         (contents.results.empty() ? "" : "| `results/` | what was measured, as it was written |  |\n") + "| " +
         code(kChecksumsFile) + " | " + code(std::string("xxhsum -c ") + kChecksumsFile) + " checks all of them |  |\n";
}

std::string training_command(const checkpoint::Manifest& manifest) {
  const auto ranks = manifest.last_bits.find("ranks");
  const bool several = ranks != manifest.last_bits.end() &&
                       ranks->second.find_first_not_of("0123456789") == std::string::npos && ranks->second != "1";
  return (several ? "mpirun -n " + ranks->second + " " : "") + "cfm_train --flagfile=train.flags --run_dir=NEW";
}

// "bits_per_dim | 3.1201": what a result says at its top, in its own words and digits.
std::string numbers_table(const Json& result) {
  std::string text = "| number | value |\n|---|---|\n";
  for (const auto& [name, value] : result.items()) {
    if (name == "format_version" || name == "seconds") continue;
    if (value.is_number()) text += row(name, value.dump());
    if (value.is_object() && value.contains("mean") && value.contains("min"))
      text += row(name, value["mean"].dump() + " (" + value["min"].dump() + " to " + value["max"].dump() + ")");
    if (name == "one_draw") text += row("bits_per_dim of one draw", value.value("bits_per_dim", Json()).dump());
    if (name == "rank_deficient")
      for (const Json& sentence : value) text += row("note", sentence.get<std::string>());
    if (name != "curve") continue;
    for (const Json& point : value) text += row("point", point.dump());
  }
  return text;
}

std::string command_behind(const Json& result) {
  const auto command = result.find("command");
  if (command != result.end() && command->is_string()) return block(command->get<std::string>());
  return "The command was not recorded; the settings that decide the numbers are\n\n" +
         block(result.value("settings", Json::object()).dump(1));
}

std::string result_section(const ResultFacts& facts) {
  const std::string name = facts.file.filename().string();
  std::string text = "### " + facts.metric + ": " + facts.value + "\n\n";
  try {
    const Json result = Json::parse(read_file(facts.file));
    const Json weights = result.value("weights", Json::object());
    text += "Of the weights " + code(weights.value("name", std::string("?"))) + ", by " +
            (result.value("source_revision", std::string("?")).insert(0, "cfm ")) + ", " + code("results/" + name) +
            ":\n\n" + command_behind(result) + "\n" + numbers_table(result);
  } catch (const std::exception& e) {
    text += code("results/" + name) + " cannot be read: " + e.what() + "\n";
  }
  return text + "\n";
}

}  // namespace

std::string model_card(const CardContents& contents) {
  const std::string weights = contents.weights.back().record.name;
  std::string text = "# " + contents.name + ", step " + grouped(contents.manifest.progress.step) + "\n\n" +
                     "A continuous normalizing flow, trained by cfm.\n\n" + facts_table(contents) + "\n## Files\n\n" +
                     files_table(contents) + "\nThe tensors have the names of guided-diffusion's " + code("UNetModel") +
                     "; " + code("__metadata__") + " of each weights file says what its output means.\n\n" +
                     "## Training\n\n" + block(training_command(contents.manifest)) + "\n## Use\n\n" +
                     block("cfm_sample --weights_file=" + weights + " --count=64 --out=samples.png\n" +
                           "cfm_eval_nll --weights_file=" + weights + " --results_dir=results --data=SHARDS\n" +
                           "cfm_train --init_from=" + weights + " ...") +
                     "\n## Results\n\n";
  if (contents.results.empty()) text += "Nothing was measured of this step.\n";
  if (!contents.results.empty())
    text +=
        "With `--weights_file` of a file above and `--results_dir` in place of `--run_dir`, `--step` and `--watch`, "
        "each command measures "
        "the same again.\n\n";
  for (const ResultFacts& result : contents.results) text += result_section(result);
  return text;
}

}  // namespace cfm::keeper
