// Statistics of others, held to the network's widths before anything is drawn.
#include "evaluator/published_statistics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "base/error.h"
#include "data/npz.h"
#include "support/scratch_directory.h"

namespace cfm::evaluator {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

data::NumpyArray float64(const std::vector<int64_t>& shape, const std::vector<double>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(double));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return {"<f8", shape, bytes};
}

data::NumpyArray identity(int64_t d) {
  std::vector<double> values(static_cast<size_t>(d * d));
  for (int64_t i = 0; i < d; ++i) values[static_cast<size_t>(i * d + i)] = 1;
  return float64({d, d}, values);
}

class PublishedStatisticsFile : public testing::Test {
 protected:
  std::filesystem::path with_widths(int64_t d, int64_t spatial) {
    data::write_npz(scratch_ / "statistics.npz",
                    {{"mu", float64({d}, std::vector<double>(static_cast<size_t>(d)))},
                     {"sigma", identity(d)},
                     {"mu_s", float64({spatial}, std::vector<double>(static_cast<size_t>(spatial)))},
                     {"sigma_s", identity(spatial)}});
    return scratch_ / "statistics.npz";
  }
  static FeatureNetwork network(int64_t d, int64_t spatial) {
    FeatureNetwork network;
    network.name = "inception";
    network.dimensions = d;
    network.spatial_dimensions = spatial;
    return network;
  }
  tests::ScratchDirectory scratch_;
};

TEST_F(PublishedStatisticsFile, AreReadWhereTheirWidthsAreTheNetworks) {
  const PublishedStatistics published = read_published_statistics(with_widths(4, 6), network(4, 6));
  EXPECT_EQ(published.features->mean.size(0), 4);
  EXPECT_EQ(published.spatial->covariance.sizes(), (at::IntArrayRef{6, 6}));
}

TEST_F(PublishedStatisticsFile, OfAnotherWidthAreRefusedByTheNameOfTheirArray) {
  const auto refusal = [&](int64_t d, int64_t spatial) -> std::string {
    try {
      read_published_statistics(with_widths(d, spatial), network(4, 6));
    } catch (const Error& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  EXPECT_THAT(refusal(5, 6), AllOf(HasSubstr("mu has 5"), HasSubstr("gives 4"), HasSubstr("statistics.npz")));
  EXPECT_THAT(refusal(4, 5), AllOf(HasSubstr("mu_s has 5"), HasSubstr("gives 6"), HasSubstr("statistics.npz")));
}

TEST_F(PublishedStatisticsFile, SpatialOnesDoNotMatterToANetworkWithoutSpatialFeatures) {
  EXPECT_FALSE(read_published_statistics(with_widths(4, 5), network(4, 0)).spatial.has_value());
}

}  // namespace
}  // namespace cfm::evaluator
