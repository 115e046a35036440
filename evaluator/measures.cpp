#include "evaluator/measures.h"

#include <algorithm>

#include "evaluator/frechet.h"

namespace cfm::evaluator {
namespace {

Json json_of(const ScoreOverSplits& score) {
  return {{"mean", score.mean}, {"deviation", score.deviation}, {"splits", score.splits}};
}

}  // namespace

Measures measure(const FeatureSet& samples, const Reference& reference, uint64_t seed, const KernelConfig& kid,
                 int64_t neighbours, const std::function<void()>& before_each) {
  Measures measures;
  measures.fid = frechet_distance(samples.features->gaussian(), *reference.features);
  if (samples.spatial && reference.spatial)
    measures.sfid = frechet_distance(samples.spatial->gaussian(), *reference.spatial);
  measures.score = inception_score(samples.logits, std::min(kScoreSplits, samples.count));
  measures.score_adm = inception_score_by_size(samples.logits, kScoreSplitImages);
  if (!reference.kept.defined()) return measures;
  measures.kid = kernel_distance(samples.kept, reference.kept, seed, kid, before_each);
  if (std::min(samples.kept.size(0), reference.kept.size(0)) > neighbours)
    measures.precision_recall = precision_recall(samples.kept, reference.kept, neighbours, before_each);
  return measures;
}

Json to_json(const Measures& measures) {
  Json json{{"fid", measures.fid},
            {"sfid", nullptr},
            {"is_10_splits", json_of(measures.score)},
            {"is_splits_of_5000", json_of(measures.score_adm)},
            {"kid", nullptr},
            {"precision", nullptr},
            {"recall", nullptr}};
  if (measures.sfid) json["sfid"] = *measures.sfid;
  if (measures.kid) {
    json["kid"] = {{"mean", measures.kid->mean},
                   {"deviation", measures.kid->deviation},
                   {"subsets", measures.kid->subsets},
                   {"subset_size", measures.kid->subset_size}};
  }
  if (measures.precision_recall) {
    json["precision"] = measures.precision_recall->precision;
    json["recall"] = measures.precision_recall->recall;
  }
  return json;
}

}  // namespace cfm::evaluator
