#include "evaluator/reference.h"

#include <unistd.h>

#include <chrono>
#include <memory>
#include <system_error>
#include <thread>

#include "base/durable_file.h"
#include "base/environment.h"
#include "base/error.h"
#include "base/hash.h"
#include "base/lease.h"
#include "base/log.h"
#include "checkpoint/safetensors.h"
#include "evaluator/feature_pass.h"
#include "evaluator/published_statistics.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

constexpr const char* kCacheVersion = "1";

// What a cached file must say of itself to be taken.
checkpoint::Metadata provenance(const Reference& reference, const FeatureNetwork& network) {
  checkpoint::Metadata metadata{{"cfm_fid_statistics", kCacheVersion},
                                {"images", std::to_string(reference.count)},
                                {"features", network.name},
                                {"features_xxh3", network.hash},
                                {"features_input", network.input},
                                {"features_kept", std::to_string(reference.most_kept)}};
  for (const auto& [name, value] : reference.identity)
    if (name != "dataset_images_fingerprint") metadata[name] = value;  // may be learnt later
  return metadata;
}

std::string content_hash(const checkpoint::NamedTensors& tensors) {
  Xxh3 hash;
  for (const auto& [name, tensor] : tensors) {
    const at::Tensor dense = tensor.contiguous();
    hash.update(dense.const_data_ptr(), dense.nbytes());
  }
  return hash.hex();
}

fs::path cache_file(const checkpoint::Metadata& metadata) {
  if (cache_folder("fid").empty()) return {};
  std::string text;
  for (const auto& [name, value] : metadata) text += name + "=" + value + "\n";
  return cache_folder("fid") / (xxh3_128_hex(text.data(), text.size()) + ".safetensors");
}

// Fills `reference` from the cache if its file is there and whole; a damaged one is no file.
bool recall(Reference& reference, const checkpoint::Metadata& expected) try {
  if (reference.cache_file.empty() || !fs::exists(reference.cache_file)) return false;
  const checkpoint::SafetensorsFile file = checkpoint::read_safetensors(reference.cache_file);
  const std::map<std::string, at::Tensor> tensors(file.tensors.begin(), file.tensors.end());
  for (const auto& [name, value] : expected)
    if (!file.metadata.contains(name) || file.metadata.at(name) != value) return false;
  check(
      file.metadata.contains("content_xxh3_128") && file.metadata.at("content_xxh3_128") == content_hash(file.tensors),
      reference.cache_file.string() + " is damaged");
  Gaussian features{tensors.at("mean"), tensors.at("covariance")};
  if (tensors.contains("spatial_mean"))
    reference.spatial = Gaussian{tensors.at("spatial_mean"), tensors.at("spatial_covariance")};
  reference.kept = tensors.at("kept");
  reference.features = std::move(features);
  reference.origin = "cache " + reference.cache_file.string();
  return true;
} catch (const std::exception& error) {
  warn("statistics in the cache are not used: " + std::string(error.what()));
  std::error_code ignored;  // then they are only read, and found damaged, again
  fs::remove(reference.cache_file, ignored);
  return false;
}

// Without the cache they are only computed again another time.
void remember(const Reference& reference, checkpoint::Metadata metadata) try {
  if (reference.cache_file.empty()) return;
  fs::create_directories(reference.cache_file.parent_path());
  checkpoint::NamedTensors tensors{
      {"mean", reference.features->mean}, {"covariance", reference.features->covariance}, {"kept", reference.kept}};
  if (reference.spatial) {
    tensors.emplace_back("spatial_mean", reference.spatial->mean);
    tensors.emplace_back("spatial_covariance", reference.spatial->covariance);
  }
  metadata["content_xxh3_128"] = content_hash(tensors);
  const fs::path unfinished = reference.cache_file.string() + "." + std::to_string(::getpid()) + ".tmp";
  checkpoint::write_safetensors(unfinished, tensors, metadata);
  rename_durably(unfinished, reference.cache_file);
} catch (const Error& error) {
  warn("the reference's statistics are not cached: " + std::string(error.what()));
} catch (const fs::filesystem_error& error) {
  warn("the reference's statistics are not cached: " + std::string(error.what()));
}

// The right to compute what goes into the cache, while nobody else does.
struct Turn {
  bool stopped = false;          // while it waited; on all ranks
  std::unique_ptr<Lease> lease;  // at rank 0; null where the cache cannot be written
};

// Whether nobody else has the turn. What keeps a lease from being written keeps the statistics out of the cache too.
bool is_free(LeaseSeeker& seeker, Turn& turn) try {
  turn.lease = seeker.try_take();
  return turn.lease != nullptr;
} catch (const Error& error) {
  warn("the reference's statistics will not be cached: " + std::string(error.what()));
  return true;
}

// Another job's turn ends when its statistics are in the cache, when it stops, or when it is dead. Collective.
Turn wait_for_turn(const fs::path& cache_file, SharedStop& stop, const parallel::MpiSession& session) {
  const bool leads = session.rank() == 0;
  Turn turn;
  std::optional<LeaseSeeker> seeker;
  if (leads && !cache_file.empty()) {
    std::error_code error;  // then there will be no lease either
    fs::create_directories(cache_file.parent_path(), error);
    seeker.emplace(cache_file.string() + ".lease");
  }
  for (bool waits = false;; waits = true) {
    if (session.control().any(leads && (!seeker || is_free(*seeker, turn)))) return turn;
    if (leads && !waits)
      say("waiting      " + seeker->holder().text() +
          " computes the reference's statistics; they are taken from there");
    turn.stopped = session.control().any(stop.asked());
    if (turn.stopped) return turn;
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
  }
}

}  // namespace

Reference find_reference(const std::string& place, const FeatureNetwork& network, int64_t most_kept,
                         const parallel::MpiSession& session, data::Hdf5Process& hdf5) {
  Reference reference;
  reference.most_kept = most_kept;
  PublishedStatistics published;
  parallel::agree_on(session, [&] { published = read_published_statistics(place, network); });
  if (published.has_images || !published.features) {
    reference.images = open_image_source("--reference", place, session, hdf5);
    reference.identity = reference.images->identity;
    reference.count = reference.images->count;
    parallel::agree_on(session, [&] {
      network.check_takes(reference.images->shape);
      check(reference.count >= 2, "--reference=" + place + " holds 1 image; a covariance takes at least 2");
    });
    reference.what = reference.images->what;
  } else {
    reference.identity = {{"file_xxh3", published.hash}};
    reference.what = "--reference " + place + ": statistics";
  }
  if (session.rank() == 0) reference.cache_file = cache_file(provenance(reference, network));
  bool complete = !reference.images.has_value();
  if (session.rank() == 0 && reference.images) complete = recall(reference, provenance(reference, network));
  if (published.features) {  // what is published stands, whatever images come with it
    reference.published = true;
    reference.count = 0;
    reference.origin = "mu and sigma of " + place;
    if (session.rank() == 0) {
      reference.features = published.features;
      reference.spatial = published.spatial;
    }
  }
  reference.complete = session.control().any(session.rank() == 0 && complete);
  return reference;
}

bool complete_reference(Reference& reference, const FeatureNetwork& network, SharedStop& stop,
                        const parallel::MpiSession& session) {
  if (reference.complete) return true;
  const bool leads = session.rank() == 0;
  const Turn turn = wait_for_turn(reference.cache_file, stop, session);  // to be held until they are cached
  if (turn.stopped) return false;
  Reference found = reference;
  found.count = reference.images->count;
  if (!session.control().any(leads && recall(found, provenance(found, network)))) {
    FeaturePass pass{.count = reference.images->count, .kept = reference.most_kept};
    pass.verb = "reference";
    pass.stop = &stop;
    const std::optional<FeatureSet> set = collect_features(*reference.images, pass, network, session);
    if (!set) return false;
    if (leads) {
      found.features = set->features->gaussian();
      found.spatial = set->spatial ? std::optional(set->spatial->gaussian()) : std::nullopt;
      found.kept = set->kept;
      remember(found, provenance(found, network));
      found.origin = "computed from the images";
    }
  }
  if (reference.published) {
    reference.kept = found.kept;
  } else if (leads) {
    reference = std::move(found);
  }
  reference.complete = true;
  return true;
}

}  // namespace cfm::evaluator
