#include "evaluator/sample.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/log.h"
#include "evaluator/gather.h"
#include "evaluator/labels.h"
#include "evaluator/sample_progress.h"
#include "parallel/device.h"
#include "parallel/threads.h"

namespace cfm::evaluator {
namespace {

using checkpoint::Weights;

constexpr int64_t kTraced = 16;  // samples of --trajectories
constexpr int kIntervals = 16;   // between their times

Weights drawable_weights(const SampleJob& job) {
  Weights weights = load_weights(job.weights);
  const models::UNetConfig& model = weights.info.model;
  const bool drawable = model.in_channels == 1 || model.in_channels == 3;
  check(drawable || job.out.extension() != ".png", weights.file.string() + " makes images of " +
                                                       std::to_string(model.in_channels) +
                                                       " channels, a PNG has 1 or 3: use --out=FILE.npz");
  return weights;
}

// A rank's images and the evaluations that they took.
struct Share {
  at::Tensor images;  // uint8 [n,C,H,W]
  std::vector<double> nfe;
};

Share sample_share(const flow::SampleVelocity& velocity, const flow::SampleConfig& config, flow::SampleRange range,
                   at::IntArrayRef image_shape, c10::Device device, bool shows_progress) {
  const int64_t count = range.last - range.first;
  Share share{at::empty({count, image_shape[0], image_shape[1], image_shape[2]}, at::kByte), {}};
  SampleProgress progress(shows_progress, count);
  flow::draw_samples(velocity, config, range.first, count, image_shape, device, [&](const flow::SampledImage& image) {
    share.images[image.sample - range.first].copy_(image.bytes);
    share.nfe.push_back(static_cast<double>(image.nfe));
    progress.done(static_cast<int64_t>(share.nfe.size()));
  });
  return share;
}

// "100 NFE", or with adaptive steps "98 to 140 NFE, 120.3 in the mean", over all ranks. Collective.
std::string nfe_text(const std::vector<double>& nfe, int64_t count, const parallel::MpiSession& session) {
  std::vector<double> extremes{-1e300, -1e300}, sum{0};
  for (const double value : nfe) {
    extremes = {std::max(extremes[0], -value), std::max(extremes[1], value)};
    sum[0] += value;
  }
  session.control().max(extremes);
  session.control().sum(sum);
  char text[96];
  if (-extremes[0] == extremes[1]) {
    std::snprintf(text, sizeof text, "%.0f NFE", extremes[1]);
  } else {
    std::snprintf(text, sizeof text, "%.0f to %.0f NFE, %.1f in the mean,", -extremes[0], extremes[1],
                  sum[0] / static_cast<double>(count));
  }
  return text;
}

std::string settings_text(const SampleJob& job, const Weights& weights, const std::string& machine) {
  const models::UNetConfig& model = weights.info.model;
  const std::string side = std::to_string(model.image_size);
  const flow::OdeConfig& ode = job.sampling.ode;
  return "weights      " + weights.file.string() + "  " + checkpoint::weights_name(weights.info) + ", step " +
         std::to_string(weights.info.step) + ", xxh3 " + weights.hash + "\n" +  //
         "images       " + std::to_string(job.count) + " of " + std::to_string(model.in_channels) + "x" + side + "x" +
         side + ", seed " + std::to_string(job.sampling.seed) + "\n" +  //
         "solver       " + ode.text() +
         (ode.adaptive() ? "" : ": " + std::to_string(ode.fixed_nfe()) + " network evaluations (NFE) an image") +
         ", float32\n" +  //
         "machine      " + machine;
}

}  // namespace

Problems SampleJob::validate() const {
  Problems problems = sampling.validate();
  for (const std::string& problem : net_batch_problems(sampling.net_batch)) problems.push_back(problem);
  for (const std::string& problem : weights.validate()) problems.push_back(problem);
  if (count < 1) problems.push_back("--count=" + std::to_string(count) + ": expected at least 1");
  if (out.empty()) problems.emplace_back("--out is empty: give a file that ends in .png or .npz");
  if (!trajectories.empty() && trajectories.extension() != ".npz")
    problems.push_back("--trajectories=" + trajectories.string() + ": expected a name that ends in .npz");
  if (layout.columns < 0)
    problems.push_back("--columns=" + std::to_string(layout.columns) + ": expected 0 (square) or more");
  if (!beside.empty() && !out.string().ends_with(".png"))
    problems.emplace_back("--beside draws a grid: --out must end in .png");
  if (layout.zoom < 1 || layout.zoom > 64)
    problems.push_back("--zoom=" + std::to_string(layout.zoom) + ": expected 1 to 64");
  if (threads < 0)
    problems.push_back("--threads=" + std::to_string(threads) + ": expected 0 (share the cores) or more");
  return problems;
}

void sample(const SampleJob& job, const parallel::MpiSession& session, data::Hdf5Process& hdf5) {
  const bool leads = session.rank() == 0;
  check_no_problems(job.validate());
  parallel::agree_on(session, [&] {
    if (leads) check_writable(job.out);
    if (leads && !job.trajectories.empty()) check_writable(job.trajectories, "--trajectories");
  });
  const c10::Device device = parallel::choose_device(session, job.device);
  const int threads = parallel::use_threads(session, job.threads);
  parallel::use_exact_float32();

  Weights weights;
  std::vector<int64_t> cycle;  // labels, taken in turn; empty: none
  NetworkFlow network;
  parallel::agree_on(session, [&] {
    weights = drawable_weights(job);
    cycle = label_cycle(job.labels, weights.info.model);
    network = network_flow(weights, [&](int64_t sample) { return cycle[static_cast<size_t>(sample) % cycle.size()]; });
  });
  const models::UNetConfig& model = weights.info.model;
  GridLayout layout = job.layout;
  parallel::agree_on(session, [&] {
    const data::ImageShape shape{model.in_channels, model.image_size, model.image_size};
    if (leads && !job.beside.empty()) layout.beside = read_beside(job.beside, job.count, shape, hdf5);
  });
  weights.net->to(device);
  flow::SampleConfig config = job.sampling;
  config.ode.t_end = network.t_end;
  config.sigma0 = network.sigma0;
  const std::string machine = std::to_string(session.size()) + " ranks, " + device.str() + ", " +
                              std::to_string(threads) + " threads a rank, " + std::to_string(config.net_batch) +
                              " samples a network call";
  if (leads) say(settings_text(job, weights, machine));

  const auto start = std::chrono::steady_clock::now();
  const std::vector<int64_t> image_shape{model.in_channels, model.image_size, model.image_size};
  const flow::SampleRange range = flow::samples_of_rank(job.count, config.net_batch, session.rank(), session.size());
  const Share mine = sample_share(network.velocity, config, range, image_shape, device, leads);
  const at::Tensor images = gather_images(mine.images, session);  // [count,C,H,W] at rank 0
  const std::string nfe = nfe_text(mine.nfe, job.count, session);
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  parallel::agree_on(session, [&] {
    if (leads) write_samples(job.out, images, labels_of(cycle, 0, job.count), layout);
  });
  parallel::agree_on(session, [&] {
    if (!leads || job.trajectories.empty()) return;
    const int64_t traced = std::min({job.count, config.net_batch, kTraced});
    write_trajectories(job.trajectories,
                       flow::trace_samples(network.velocity, config, traced, kIntervals, image_shape, device));
  });
  if (!leads) return;
  char cost[96];
  std::snprintf(cost, sizeof cost, "%.1f s, %.4f s and ", seconds, seconds / static_cast<double>(job.count));
  say("sampled      " + std::to_string(job.count) + " images in " + cost + nfe + " an image\nwritten      " +
      job.out.string() + (job.trajectories.empty() ? "" : ", " + job.trajectories.string()));
}

}  // namespace cfm::evaluator
