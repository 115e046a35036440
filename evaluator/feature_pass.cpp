#include "evaluator/feature_pass.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include "base/error.h"
#include "evaluator/gather.h"
#include "evaluator/sample_progress.h"
#include "flow/sampler.h"

namespace cfm::evaluator {
namespace {

// One block of images through the network, kFeatureBatch at a time.
ImageFeatures features_of_block(const FeatureNetwork& network, const at::Tensor& images,
                                const std::function<void(int64_t)>& done) {
  std::vector<at::Tensor> features, spatial, logits;
  for (int64_t at = 0; at < images.size(0); at += kFeatureBatch) {
    const int64_t n = std::min(kFeatureBatch, images.size(0) - at);
    const ImageFeatures part = network.features_of(images.narrow(0, at, n));
    features.push_back(part.features);
    if (part.spatial.defined()) spatial.push_back(part.spatial);
    logits.push_back(part.logits);
    done(at + n);
  }
  return {at::cat(features), spatial.empty() ? at::Tensor() : at::cat(spatial), at::cat(logits)};
}

// Which of images first .. first + n - 1 (of `count`) are among `kept` evenly spaced ones, as rows from `first` on.
std::vector<int64_t> kept_rows(int64_t first, int64_t n, int64_t count, int64_t kept) {
  std::vector<int64_t> rows;
  for (int64_t i = first; i < first + n; ++i)
    if (kept >= count || (i + 1) * kept / count > i * kept / count) rows.push_back(i - first);
  return rows;
}

std::optional<Moments> total_over_ranks(const MomentTree& mine, const parallel::MpiSession& session) {
  const std::vector<std::string> trees = session.control().gather(mine.bytes());
  MomentTree all;
  for (const std::string& tree : trees) all.append(MomentTree::from_bytes(tree));
  return all.empty() ? std::nullopt : std::optional(all.total());
}

at::Tensor joined(const std::vector<at::Tensor>& rows) { return rows.empty() ? at::Tensor() : at::cat(rows); }

// What one rank has of a pass.
struct Share {
  MomentTree features{}, spatial{};
  std::vector<at::Tensor> kept{}, logits{};
  int64_t evaluations = 0;
  bool stopped = false;
};

Share collected_share(const ImageSource& images, const FeaturePass& pass, const FeatureNetwork& network,
                      flow::SampleRange range, bool leads) {
  SampleProgress progress(leads, range.last - range.first, pass.verb);
  Share share;
  for (int64_t at = range.first; at < range.last; at += pass.block) {
    share.stopped = pass.stop != nullptr && pass.stop->asked();
    if (share.stopped) break;
    const int64_t n = std::min(pass.block, range.last - at);
    const auto [block, calls] = images.read(pass.first + at, n);  // [n,C,H,W]
    share.evaluations += calls;
    if (pass.also) pass.also(block);
    const ImageFeatures found = features_of_block(network, block, [&](int64_t n_done) {
      const int64_t done = at - range.first + n_done;
      progress.done(done);
      if (leads && pass.progress)
        pass.progress(static_cast<double>(done) / static_cast<double>(range.last - range.first));
    });
    // Logits may be -inf: those of a TorchScript are logarithms of probabilities.
    const bool sound = found.features.isfinite().all().item<bool>() &&
                       (!found.spatial.defined() || found.spatial.isfinite().all().item<bool>()) &&
                       (!found.logits.defined() || !found.logits.isnan().any().item<bool>());
    check(sound, "features of images " + std::to_string(pass.first + at) + " to " +
                     std::to_string(pass.first + at + n - 1) + " are not finite: " + network.file.string() +
                     " is no network for these images (" + images.what + ")");
    share.features.add(at / pass.block, moments_of(found.features));
    if (found.spatial.defined()) share.spatial.add(at / pass.block, moments_of(found.spatial));
    share.kept.push_back(
        found.features.index_select(0, at::tensor(kept_rows(at, n, pass.count, pass.kept), at::kLong)));
    if (pass.logits) share.logits.push_back(found.logits);
  }
  return share;
}

}  // namespace

std::optional<FeatureSet> collect_features(const ImageSource& images, const FeaturePass& pass,
                                           const FeatureNetwork& network, const parallel::MpiSession& session) {
  const flow::SampleRange range = flow::samples_of_rank(pass.count, pass.block, session.rank(), session.size());
  Share share;
  agree_on_shares(session, pass.stop,
                  [&] { share = collected_share(images, pass, network, range, session.rank() == 0); });
  if (session.control().any(share.stopped)) return std::nullopt;
  std::array<double, 1> evaluations{static_cast<double>(share.evaluations)};  // whole numbers: their sum is exact
  session.control().sum(evaluations);
  std::optional<Moments> features = total_over_ranks(share.features, session);
  std::optional<Moments> spatial = total_over_ranks(share.spatial, session);
  return FeatureSet{.count = session.rank() == 0 ? pass.count : 0,
                    .evaluations = static_cast<int64_t>(evaluations[0]),
                    .features = std::move(features),
                    .spatial = std::move(spatial),
                    .kept = gather_rows(joined(share.kept), session),
                    .logits = gather_rows(joined(share.logits), session)};
}

}  // namespace cfm::evaluator
