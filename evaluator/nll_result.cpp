#include "evaluator/nll_result.h"

#include <algorithm>
#include <cassert>
#include <cmath>

#include "base/number_text.h"

namespace cfm::evaluator {
namespace {

MeanNll mean_of(const std::vector<ImageNll>& images, double ImageNll::*value) {
  const auto count = static_cast<double>(images.size());
  MeanNll mean;
  for (const ImageNll& image : images) mean.bits += image.*value / count;
  double squares = 0;
  for (const ImageNll& image : images) squares += (image.*value - mean.bits) * (image.*value - mean.bits);
  mean.standard_error = std::sqrt(squares / (count - 1) / count);
  return mean;
}

nlohmann::ordered_json json_of(const MeanNll& mean) {
  nlohmann::ordered_json json{{"bits_per_dim", mean.bits}, {"standard_error", nullptr}};
  if (std::isfinite(mean.standard_error)) json["standard_error"] = mean.standard_error;
  return json;
}

}  // namespace

std::vector<ImageNll> images_of(const DrawRecords& records, int64_t repeats, int64_t dimensions) {
  std::vector<ImageNll> images;
  for (auto record = records.begin(); record != records.end();) {
    ImageNll image{.image = record->first.first};
    std::vector<double> log_p;
    for (; record != records.end() && record->first.first == image.image; ++record) {
      log_p.push_back(record->second.log_p);
      image.nfe += record->second.nfe;
    }
    if (static_cast<int64_t>(log_p.size()) != repeats) continue;
    image.bits = flow::bits_per_dimension(log_p, dimensions);
    image.bits_first = flow::bits_per_dimension({log_p.data(), 1}, dimensions);
    images.push_back(image);
  }
  return images;
}

NllSummary summary_of(const std::vector<ImageNll>& images, const DrawRecords& records) {
  assert(!images.empty());
  NllSummary summary{.images = static_cast<int64_t>(images.size()),
                     .all_draws = mean_of(images, &ImageNll::bits),
                     .first_draw = mean_of(images, &ImageNll::bits_first)};
  summary.nfe_min = summary.nfe_max = records.begin()->second.nfe;
  for (const auto& [key, record] : records) {
    summary.nfe_min = std::min(summary.nfe_min, record.nfe);
    summary.nfe_max = std::max(summary.nfe_max, record.nfe);
    summary.nfe_mean += static_cast<double>(record.nfe) / static_cast<double>(records.size());
  }
  return summary;
}

std::string csv_of(const std::vector<ImageNll>& images, const std::vector<int64_t>& labels) {
  std::string csv = "image,label,nfe,bits_per_dim,bits_per_dim_first_draw\n";
  for (const ImageNll& image : images) {
    csv += number_text(image.image) + "," + number_text(labels.at(static_cast<size_t>(image.image))) + "," +
           number_text(image.nfe) + "," + number_text(image.bits) + "," + number_text(image.bits_first) + "\n";
  }
  return csv;
}

nlohmann::ordered_json json_of(const NllSummary& summary, int64_t repeats) {
  nlohmann::ordered_json json = json_of(summary.all_draws);
  json["images"] = summary.images;
  json["repeats"] = repeats;
  if (repeats > 1) json["one_draw"] = json_of(summary.first_draw);
  json["nfe"] = {{"min", summary.nfe_min}, {"mean", summary.nfe_mean}, {"max", summary.nfe_max}};
  return json;
}

}  // namespace cfm::evaluator
