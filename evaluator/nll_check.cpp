#include "evaluator/nll_check.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>

namespace cfm::evaluator {

at::Tensor bytes_of_image(const data::Dataset& dataset, int64_t image) {
  const data::ImageShape shape = dataset.image_shape();
  at::Tensor bytes = at::empty({shape.channels, shape.height, shape.width}, at::kByte);
  dataset.read(image, {bytes.mutable_data_ptr<uint8_t>(), static_cast<size_t>(shape.bytes())});
  return bytes;
}

ConvergenceCheck check_convergence(const NllPlan& plan, const NetworkFlow& network, const data::Dataset& dataset,
                                   int64_t images, const DrawRecords& records, const parallel::MpiSession& session,
                                   c10::Device device) {
  flow::LikelihoodConfig finer = plan.likelihood;
  finer.ode.steps *= 2;
  finer.repeats = 1;
  images = std::min(images, plan.count);
  std::vector<double> differences(static_cast<size_t>(images));
  int64_t next = images * session.rank() / session.size();
  const int64_t last = images * (session.rank() + 1) / session.size();
  const auto next_image = [&]() -> std::optional<flow::ImageDraw> {
    if (next == last) return std::nullopt;
    const int64_t image = next++;
    return flow::ImageDraw{image, 0, bytes_of_image(dataset, image)};
  };
  const auto compare = [&](const flow::DrawDensity& fine) {
    const double coarse = records.at({fine.image, 0}).log_p;
    differences[static_cast<size_t>(fine.image)] = flow::bits_per_dimension({&coarse, 1}, plan.dimensions) -
                                                   flow::bits_per_dimension({&fine.log_p, 1}, plan.dimensions);
  };
  parallel::agree_on(session, [&] { flow::log_densities(network.velocity, finer, device, next_image, compare); });
  session.control().sum(differences);
  ConvergenceCheck check{.images = images};
  for (const double difference : differences) {
    check.mean += difference / static_cast<double>(images);
    check.rms += difference * difference / static_cast<double>(images);
    check.largest = std::max(check.largest, std::abs(difference));
  }
  check.rms = std::sqrt(check.rms);
  return check;
}

}  // namespace cfm::evaluator
