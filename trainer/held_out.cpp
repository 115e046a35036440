#include "trainer/held_out.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/remainder.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>

#include "data/image_file.h"
#include "flow/draws.h"
#include "flow/pixels.h"

namespace cfm::trainer {
namespace {

constexpr uint64_t kFixedSeed = 0;  // not the run's: losses of different runs compare
constexpr int64_t kGridImages = 64;

struct Left {};  // thrown through the solver by a rank that was asked to stop

// Time of a held-out image, as a share of t_end: its bin in turn, its place within the bin keyed.
double time_of(int64_t image) {
  const auto bin = static_cast<double>(image % kTimeBins);
  return (bin + uniform({kFixedSeed, Purpose::kValidationTime, static_cast<uint64_t>(image)})) / kTimeBins;
}

// Losses of images first .. first + batch - 1; past the end of the set the last image stands in, its loss is not used.
at::Tensor losses_of_batch(models::UNet& net, const flow::FlowConfig& flow_config, const data::Dataset& dataset,
                           int64_t first, int64_t batch, c10::Device device) {
  const data::ImageShape shape = dataset.image_shape();
  const std::vector<int64_t> chw{shape.channels, shape.height, shape.width};
  const at::Tensor bytes = at::empty({batch, chw[0], chw[1], chw[2]}, at::kByte);
  const at::Tensor t = at::empty({batch}, at::kDouble);
  at::Tensor labels = at::empty({batch}, at::kLong);
  for (int64_t i = 0; i < batch; ++i) {
    const int64_t image = std::min(first + i, dataset.size() - 1);
    dataset.read(image, {bytes.mutable_data_ptr<uint8_t>() + i * shape.bytes(), static_cast<size_t>(shape.bytes())});
    labels.mutable_data_ptr<int64_t>()[i] = dataset.label(image);
    t.mutable_data_ptr<double>()[i] = flow::t_end(flow_config.path) * time_of(image);
  }
  const auto id = static_cast<uint64_t>(first);
  const at::Tensor u = flow::keyed_uniform(kFixedSeed, Purpose::kValidation, id, batch, chw);
  const at::Tensor x0 = flow::keyed_normal(kFixedSeed, Purpose::kValidationNoise, id, batch, chw).to(device);
  const at::Tensor x1 = flow::to_model_space(bytes, u).to(device);
  const flow::TrainingPoint point = flow::training_point(flow_config, x0, x1, t.to(device));
  if (net.config().num_classes > 0) labels = labels.to(device);
  const at::Tensor F = net.forward(point.input, point.t, net.config().num_classes > 0 ? labels : at::Tensor());
  return flow::loss(F, point).to(at::kCPU, at::kDouble);
}

}  // namespace

std::optional<ValidationLoss> validation_loss(models::UNet& net, const flow::FlowConfig& flow_config,
                                              const data::Dataset& dataset, int64_t images, int64_t net_batch,
                                              const parallel::MpiSession& session, c10::Device device,
                                              const Pulse& pulse) {
  const at::NoGradGuard no_grad;
  images = std::min(images, dataset.size());
  const auto mine = flow::samples_of_rank(images, net_batch, session.rank(), session.size());
  std::string losses;
  bool left = false;
  for (int64_t first = mine.first; first < mine.last; first += net_batch) {
    left = pulse.stops();
    if (left) break;
    pulse.works();
    const at::Tensor batch = losses_of_batch(net, flow_config, dataset, first, net_batch, device);
    const auto count = static_cast<size_t>(std::min(net_batch, mine.last - first));
    losses.append(reinterpret_cast<const char*>(batch.const_data_ptr<double>()), count * sizeof(double));
  }
  pulse.waits();
  if (session.control().any(left)) return {};
  std::string all;
  for (const std::string& of_rank : session.control().gather(losses)) all += of_rank;
  all = session.control().broadcast(all);
  ValidationLoss result{.mean = 0, .by_time = {}, .images = images};
  std::array<int64_t, kTimeBins> count{};
  for (int64_t i = 0; i < images; ++i) {
    double loss = 0;
    std::memcpy(&loss, all.data() + static_cast<size_t>(i) * sizeof loss, sizeof loss);
    result.mean += loss / static_cast<double>(images);
    result.by_time[static_cast<size_t>(i % kTimeBins)] += loss;
    ++count[static_cast<size_t>(i % kTimeBins)];
  }
  for (size_t bin = 0; bin < kTimeBins; ++bin)
    result.by_time[bin] /= static_cast<double>(count[bin]);  // without images: not a number
  return result;
}

bool write_sample_grid(models::UNet& net, const flow::FlowConfig& flow_config, const flow::SampleConfig& config,
                       data::ImageShape shape, const std::filesystem::path& file, const parallel::MpiSession& session,
                       c10::Device device, const Pulse& pulse) {
  const int64_t classes = net.config().num_classes;
  const flow::SampleVelocity velocity = [&](const at::Tensor& x, const at::Tensor& t,
                                            std::span<const int64_t> samples) {
    at::Tensor labels;
    if (classes > 0)
      labels =
          at::remainder(at::tensor(at::IntArrayRef(samples.data(), samples.size()), at::kLong), classes).to(device);
    const flow::Network network = [&](const at::Tensor& input, const at::Tensor& time) {
      if (pulse.stops()) throw Left{};
      pulse.works();
      return net.forward(input, time, labels);
    };
    return flow::velocity_of(flow_config, network)(x, t);
  };
  const auto mine = flow::samples_of_rank(kGridImages, config.net_batch, session.rank(), session.size());
  const std::vector<int64_t> chw{shape.channels, shape.height, shape.width};
  std::string bytes;
  bool left = false;
  if (mine.last > mine.first) try {
      const at::Tensor images = flow::sample_images(velocity, config, mine.first, mine.last - mine.first, chw, device);
      bytes.assign(reinterpret_cast<const char*>(images.const_data_ptr<uint8_t>()),
                   static_cast<size_t>(images.numel()));
    } catch (const Left&) {
      left = true;
    }
  pulse.waits();
  if (session.control().any(left)) return false;
  std::string all;
  for (const std::string& of_rank : session.control().gather(bytes)) all += of_rank;
  if (session.rank() != 0) return true;
  pulse.works();
  std::vector<data::Image> tiles;
  const auto size = static_cast<size_t>(shape.bytes());
  for (size_t at = 0; at + size <= all.size(); at += size)
    tiles.push_back(
        {shape, {all.begin() + static_cast<std::ptrdiff_t>(at), all.begin() + static_cast<std::ptrdiff_t>(at + size)}});
  const int64_t zoom = std::max<int64_t>(1, 48 / std::max(shape.height, shape.width));
  std::filesystem::create_directories(file.parent_path());
  data::write_png(file, data::image_grid(tiles, 8, 2 * zoom, 32, zoom));
  return true;
}

}  // namespace cfm::trainer
