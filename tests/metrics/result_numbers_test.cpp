#include "metrics/result_numbers.h"

#include <gtest/gtest.h>

namespace cfm::metrics {
namespace {

using Numbers = std::vector<std::pair<std::string, double>>;

TEST(ResultNumbers, OfALikelihoodAreBitsPerDimensionAndEvaluations) {
  EXPECT_EQ(result_numbers(R"({"metric": "nll", "bits_per_dim": 2.5, "nfe": {"min": 60, "mean": 80, "max": 110}})"),
            (Numbers{{"nll_bits_per_dim", 2.5}, {"nll_nfe", 80}}));
}

TEST(ResultNumbers, OfSamplesAreTheMeansOverRepeatsOfAllThatWasMeasured) {
  EXPECT_EQ(result_numbers(R"({"metric": "fid",
      "fid": {"min": 4, "mean": 5, "max": 6}, "sfid": {"mean": 7}, "is_10_splits": {"mean": 9.5},
      "is_splits_of_5000": {"mean": 9.25}, "kid": {"mean": 0.001}, "precision": {"mean": 0.75},
      "recall": {"mean": 0.5}, "repeats": [{"nfe": 40}, {"nfe": 41}, {"nfe": 45}]})"),
            (Numbers{{"fid", 5},
                     {"sfid", 7},
                     {"is_10_splits", 9.5},
                     {"is_splits_of_5000", 9.25},
                     {"kid", 0.001},
                     {"precision", 0.75},
                     {"recall", 0.5},
                     {"fid_nfe", 42}}));
  EXPECT_EQ(result_numbers(R"({"metric": "fid", "fid": {"mean": 4.5}, "repeats": [{"fid": 4.5, "kid": null}]})"),
            (Numbers{{"fid", 4.5}}))
      << "images of a file, statistics as reference";
}

TEST(ResultNumbers, OfWhatIsNoResultAreNone) {
  for (const char* json :
       {"", "torn {", "[]", "7", "{}", R"({"metric": 5, "bits_per_dim": 2})",
        R"({"metric": "other", "fid": {"mean": 1}})", R"({"metric": "nll", "bits_per_dim": null, "nfe": 3})",
        R"({"metric": "fid", "fid": 4, "repeats": {"nfe": 3}})",
        R"({"metric": "fid", "fid": [4], "kid": {"mean": "0.1"}, "repeats": [null, 3, {"nfe": "40"}]})"})
    EXPECT_TRUE(result_numbers(json).empty()) << json;
}

}  // namespace
}  // namespace cfm::metrics
