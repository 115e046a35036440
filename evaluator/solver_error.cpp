#include "evaluator/solver_error.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "evaluator/sample_progress.h"

namespace cfm::evaluator {
namespace {

// Samples first .. first + n - 1.
at::Tensor block_of_states(const flow::SampleVelocity& velocity, const flow::SampleConfig& config,
                           const StatesPass& pass, int64_t first, int64_t n) {
  const std::vector<int64_t> image{pass.shape.channels, pass.shape.height, pass.shape.width};
  const std::vector<int64_t> shape{n, image[0], image[1], image[2]};
  const std::filesystem::path file = pass.kept.file(first, n);
  if (const std::optional<KeptBlock> kept = read_block(file, "states", shape, at::kFloat)) return kept->values;
  KeptBlock block{at::empty(shape, at::kFloat)};
  flow::draw_samples(velocity, config, first, n, image, pass.device, [&](const flow::SampledImage& found) {
    block.values[found.sample - first].copy_(found.x);
    block.evaluations += found.nfe;
  });
  keep_block(file, "states", block);
  return block.values;
}

}  // namespace

flow::OdeConfig exact_solver(const flow::OdeConfig& like) {
  flow::OdeConfig ode = like;
  ode.solver = kExactSolver;
  ode.steps = kExactSteps;
  return ode;
}

int64_t compared_samples(int64_t count) {
  constexpr int64_t kMost = 256;
  return std::min(count, kMost);
}

std::optional<at::Tensor> states_of_share(const flow::SampleVelocity& velocity, const flow::SampleConfig& config,
                                          const StatesPass& pass, const parallel::MpiSession& session) {
  const flow::SampleRange share = flow::samples_of_rank(pass.count, config.net_batch, session.rank(), session.size());
  SampleProgress progress(session.rank() == 0, share.last - share.first, "errors");
  int64_t done = 0, calls = 0;  // samples of finished blocks; calls of the block under way
  const flow::SampleVelocity watched = [&](const at::Tensor& x, const at::Tensor& t, std::span<const int64_t> samples) {
    pass.stop.throw_if_asked();  // a block of the exact solution takes 4,000 calls
    ++calls;
    if (!config.ode.adaptive())
      progress.done(std::min(share.last - share.first, done + config.net_batch * calls / config.ode.fixed_nfe()));
    return velocity(x, t, samples);
  };
  std::vector<at::Tensor> blocks{at::empty({0, pass.shape.channels, pass.shape.height, pass.shape.width}, at::kFloat)};
  bool stopped = false;
  agree_on_shares(session, &pass.stop, [&] {
    try {
      for (int64_t first = share.first; first < share.last; first += config.net_batch) {
        calls = 0;
        blocks.push_back(block_of_states(watched, config, pass, first, std::min(config.net_batch, share.last - first)));
        done += blocks.back().size(0);
        progress.done(done);
      }
    } catch (const Stopped&) {
      stopped = true;
    }
  });
  if (session.control().any(stopped)) return std::nullopt;
  return at::cat(blocks);
}

double rms_difference(const at::Tensor& mine, const at::Tensor& others, int64_t count, int64_t net_batch,
                      const parallel::MpiSession& session) {
  const flow::SampleRange share = flow::samples_of_rank(count, net_batch, session.rank(), session.size());
  std::vector<double> squares(static_cast<size_t>(count));  // by sample: one rank's, the others' are 0
  for (int64_t i = 0; i < mine.size(0); ++i)
    squares[static_cast<size_t>(share.first + i)] =
        (mine[i].to(at::kDouble) - others[i].to(at::kDouble)).square().mean().item<double>();
  session.control().sum(squares);
  double sum = 0;
  for (const double square : squares) sum += square;
  return std::sqrt(sum / static_cast<double>(count));
}

}  // namespace cfm::evaluator
