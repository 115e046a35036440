#include "keeper/list.h"

#include <algorithm>
#include <string_view>

#include "base/grouped_number.h"
#include "keeper/text.h"

namespace cfm::keeper {
namespace {

using Rows = std::vector<std::vector<std::string>>;

// "0.9, 0.9999" of "raw", "ema_0.9", "ema_0.9999".
std::string averages_text(const std::vector<std::string>& weights) {
  constexpr std::string_view kEma = "ema_";
  std::vector<std::string> decays;
  for (const std::string& name : weights)
    if (name.starts_with(kEma)) decays.push_back(name.substr(kEma.size()));
  return decays.empty() ? "none" : listed(decays);
}

// "nll, fid; fid begun": what there is of a step, the file names stand below.
std::string evaluated_text(int64_t step, const RunContents& contents) {
  std::vector<std::string> done, begun;
  for (const ResultFacts& result : contents.results)
    if (result.step == step) done.push_back(result.metric);
  for (const ClaimFacts& claim : contents.claims)
    if (claim.step == step) begun.push_back(claim.name.substr(0, claim.name.find('-')));
  std::string text = listed(done);
  if (!begun.empty()) text += (text.empty() ? "" : "; ") + listed(begun) + " begun";
  return text;
}

std::string checkpoints_table(const RunContents& contents) {
  Rows rows;
  for (const CheckpointFacts& facts : contents.checkpoints) {
    rows.push_back({"", grouped(facts.step), grouped(facts.images_seen), utc_text(facts.committed),
                    bytes_text(facts.bytes), averages_text(facts.weights), evaluated_text(facts.step, contents)});
    if (!facts.problem.empty()) rows.back().back() = "DAMAGED: " + facts.problem;
  }
  return table_text(
      {{""}, {"step", true}, {"images", true}, {"committed (UTC)"}, {"size", true}, {"averages"}, {"evaluated"}}, rows);
}

std::string others_table(const RunContents& contents, std::time_t now) {
  Rows rows;
  for (const OtherFolder& other : contents.others)
    rows.push_back({"", other.name, bytes_text(other.bytes), other.what,
                    "last change " + about_text(now - other.changed) + " ago"});
  return table_text({{""}, {""}, {"", true}, {""}, {""}}, rows);
}

std::string results_table(const RunContents& contents) {
  Rows rows;
  for (const ResultFacts& result : contents.results)
    rows.push_back({"", grouped(result.step), result.metric, result.file.filename().string(), result.value});
  return table_text({{""}, {"step", true}, {"metric"}, {"file"}, {"value"}}, rows);
}

std::string claims_table(const RunContents& contents) {
  Rows rows;
  for (const ClaimFacts& claim : contents.claims)
    rows.push_back({"", claim.name, (claim.has_ended ? "by a job that has ended: " : "by ") + claim.holder});
  return table_text({{""}, {""}, {""}}, rows);
}

}  // namespace

std::string list_text(const std::filesystem::path& run_dir, const RunContents& contents, std::time_t now) {
  int64_t bytes = 0;
  for (const CheckpointFacts& facts : contents.checkpoints) bytes += facts.bytes;
  for (const OtherFolder& other : contents.others) bytes += other.bytes;
  std::string text =
      run_dir.string() + ": " + counted(static_cast<int64_t>(contents.checkpoints.size()), "checkpoint") + ", " +
      bytes_text(bytes) + (contents.trainer.empty() ? "" : "; trained now by " + contents.trainer) + "\n";
  if (!contents.checkpoints.empty()) text += "\n" + checkpoints_table(contents);
  if (!contents.others.empty()) text += "\nno checkpoints\n" + others_table(contents, now);
  if (!contents.results.empty()) text += "\nresults\n" + results_table(contents);
  if (!contents.claims.empty()) text += "\nbegun\n" + claims_table(contents);
  return text;
}

}  // namespace cfm::keeper
