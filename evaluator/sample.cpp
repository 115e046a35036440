#include "evaluator/sample.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <chrono>
#include <cstdio>

#include "base/log.h"
#include "evaluator/labels.h"
#include "evaluator/sample_progress.h"
#include "parallel/device.h"
#include "parallel/threads.h"

namespace cfm::evaluator {
namespace {

using checkpoint::Weights;

Weights load_weights(const SampleJob& job) {
  Weights weights = job.weights_file.empty() ? checkpoint::load_run_weights(job.run_dir, job.step, job.weights)
                                             : checkpoint::load_weights_file(job.weights_file);
  const checkpoint::WeightsInfo& info = weights.info;
  const std::string where = weights.file.string();
  check(info.objective == "fm", where + " was trained with the objective '" + info.objective +
                                    "'; this program samples 'fm', whose network is the velocity");
  const models::UNetConfig& model = info.model;
  check(model.in_channels == model.out_channels, where + " has " + std::to_string(model.out_channels) +
                                                     " output channels for images of " +
                                                     std::to_string(model.in_channels));
  const bool drawable = model.in_channels == 1 || model.in_channels == 3;
  check(drawable || job.out.extension() != ".png", where + " makes images of " + std::to_string(model.in_channels) +
                                                       " channels, a PNG has 1 or 3: use --out=FILE.npz");
  return weights;
}

// v of a network without dropout, for each sample's own label.
flow::VelocityForSamples velocity_of(models::UNet& net, const std::vector<int64_t>& cycle, c10::Device device) {
  return [&net, &cycle, device](int64_t first, int64_t net_batch) -> flow::Velocity {
    at::Tensor labels;
    if (!cycle.empty()) labels = at::tensor(labels_of(cycle, first, net_batch), at::kLong).to(device);
    return [&net, labels](const at::Tensor& x, const at::Tensor& t) { return net.forward(x, t, labels); };
  };
}

// This rank's images, uint8 [n,C,H,W]: whole batches, one after another.
at::Tensor sample_share(const flow::VelocityForSamples& velocity, const flow::SampleConfig& config,
                        flow::SampleRange share, at::IntArrayRef image_shape, c10::Device device, bool shows_progress) {
  std::vector<at::Tensor> batches{at::empty({0, image_shape[0], image_shape[1], image_shape[2]}, at::kByte)};
  SampleProgress progress(shows_progress, share.last - share.first);
  for (int64_t first = share.first; first < share.last; first += config.net_batch) {
    const int64_t count = std::min(config.net_batch, share.last - first);
    batches.push_back(flow::sample_images(velocity, config, first, count, image_shape, device));
    progress.done(first + count - share.first);
  }
  return at::cat(batches);
}

// All ranks' images in the samples' order at rank 0, nothing elsewhere.
at::Tensor gather_images(const at::Tensor& mine, int64_t count, const parallel::MpiSession& session) {
  const auto* const bytes = reinterpret_cast<const char*>(mine.const_data_ptr<uint8_t>());
  const std::vector<std::string> shares = session.control().gather(std::string(bytes, mine.nbytes()));
  if (session.rank() != 0) return {};
  at::Tensor all = at::empty({count, mine.size(1), mine.size(2), mine.size(3)}, at::kByte);
  char* at = reinterpret_cast<char*>(all.mutable_data_ptr<uint8_t>());
  for (const std::string& share : shares) at = std::copy(share.begin(), share.end(), at);
  return all;
}

std::string settings_text(const SampleJob& job, const Weights& weights, int64_t nfe, const std::string& machine) {
  const models::UNetConfig& model = weights.info.model;
  const std::string side = std::to_string(model.image_size);
  const flow::OdeConfig& ode = job.sampling.ode;
  return "weights      " + weights.file.string() + "  " + checkpoint::weights_name(weights.info) + ", step " +
         std::to_string(weights.info.step) + ", xxh3 " + weights.hash + "\n" +  //
         "images       " + std::to_string(job.count) + " of " + std::to_string(model.in_channels) + "x" + side + "x" +
         side + ", seed " + std::to_string(job.sampling.seed) + "\n" +  //
         "solver       " + ode.solver + ", " + std::to_string(ode.steps) + " steps on the " + ode.grid +
         " grid: " + std::to_string(nfe) + " network evaluations (NFE) an image, float32\n" +  //
         "machine      " + machine;
}

}  // namespace

Problems SampleJob::validate() const {
  Problems problems = sampling.validate();
  if (run_dir.empty() == weights_file.empty()) {
    problems.emplace_back("--run_dir and --weights_file: give one of the two");
  }
  if (!weights_file.empty() && (!weights.empty() || step != checkpoint::kNewestStep)) {
    problems.emplace_back("--weights and --step choose from --run_dir; a --weights_file is all there is");
  }
  if (step < checkpoint::kNewestStep)
    problems.push_back("--step=" + std::to_string(step) + ": expected a step, or -1 for the newest");
  if (count < 1) problems.push_back("--count=" + std::to_string(count) + ": expected at least 1");
  if (out.empty()) problems.emplace_back("--out is empty: give a file that ends in .png or .npz");
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
  });
  const c10::Device device = parallel::choose_device(session, job.device);
  const int threads = parallel::use_threads(session, job.threads);
  parallel::use_exact_float32();

  Weights weights;
  std::vector<int64_t> cycle;  // labels, taken in turn; empty: none
  parallel::agree_on(session, [&] {
    weights = load_weights(job);
    cycle = label_cycle(job.labels, weights.info.model);
  });
  const models::UNetConfig& model = weights.info.model;
  GridLayout layout = job.layout;
  parallel::agree_on(session, [&] {
    const data::ImageShape shape{model.in_channels, model.image_size, model.image_size};
    if (leads && !job.beside.empty()) layout.beside = read_beside(job.beside, job.count, shape, hdf5);
  });
  weights.net->to(device);
  flow::SampleConfig config = job.sampling;
  config.ode.t_end = weights.info.t_end;
  const auto nfe = static_cast<int64_t>(flow::tableau_named(config.ode.solver).stages) * config.ode.steps;
  const std::string machine = std::to_string(session.size()) + " ranks, " + device.str() + ", " +
                              std::to_string(threads) + " threads a rank, " + std::to_string(config.net_batch) +
                              " samples a network call";
  if (leads) say(settings_text(job, weights, nfe, machine));

  const auto start = std::chrono::steady_clock::now();
  const std::vector<int64_t> image_shape{model.in_channels, model.image_size, model.image_size};
  const flow::SampleRange share = flow::samples_of_rank(job.count, config.net_batch, session.rank(), session.size());
  const flow::VelocityForSamples velocity = velocity_of(*weights.net, cycle, device);
  const at::Tensor mine = sample_share(velocity, config, share, image_shape, device, leads);  // [n,C,H,W]
  const at::Tensor images = gather_images(mine, job.count, session);                          // [count,C,H,W] at rank 0
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();

  parallel::agree_on(session, [&] {
    if (leads) write_samples(job.out, images, labels_of(cycle, 0, job.count), layout);
  });
  if (!leads) return;
  char cost[96];
  std::snprintf(cost, sizeof cost, "%.1f s, %.4f s and %lld NFE an image", seconds,
                seconds / static_cast<double>(job.count), static_cast<long long>(nfe));
  say("sampled      " + std::to_string(job.count) + " images in " + cost + "\nwritten      " + job.out.string());
}

}  // namespace cfm::evaluator
