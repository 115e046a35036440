#include "data/loader.h"

#include <chrono>
#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <thread>

#include "data/batch_memory.h"

namespace cfm::data {

Problems LoaderConfig::validate() const {
  Problems problems;
  const auto at_least = [&problems](const std::string& flag, int64_t value, int64_t least) {
    if (value < least)
      problems.push_back("--" + flag + "=" + std::to_string(value) + ": expected " + std::to_string(least) +
                         " or more.");
  };
  at_least("global_batch", global_batch, 1);
  at_least("micro_batch", micro_batch, 0);
  at_least("loader_threads", threads, 1);
  at_least("ahead", ahead, 1);
  if (size < 1 || rank < 0 || rank >= size)
    problems.push_back("rank " + std::to_string(rank) + " of " + std::to_string(size) + ": expected 0 <= rank < size.");
  if (global_batch >= 1 && size > global_batch)
    problems.push_back("--global_batch=" + std::to_string(global_batch) + " is smaller than the number of ranks (" +
                       std::to_string(size) + "): expected at least one image a rank.");
  return problems;
}

// A ring of `ahead` places. Threads take tickets in order; ticket t is micro-batch t of this rank and goes to place
// t mod ahead once next() has emptied it, so batches leave in order whoever finishes first.
struct Loader::Impl {
  struct Place {
    std::optional<Batch> batch;
    std::exception_ptr error;
    bool full() const { return batch.has_value() || error != nullptr; }
  };

  Impl(const Dataset& d, const LoaderConfig& c, int64_t step, int64_t images_seen, std::function<void(Batch&)> p)
      : dataset(d),
        config(c),
        prepare(std::move(p)),
        first_step(step),
        first_image(images_seen),
        pieces(micro_batches(slots_of_rank(c.global_batch, c.rank, c.size), c.micro_batch)),
        order(c.seed, d.size(), c.data_groups),
        memory(c.pinned),
        ring(static_cast<size_t>(c.ahead)) {}
  ~Impl() {
    {
      const std::lock_guard lock(mutex);
      stopping = true;
    }
    emptied.notify_all();
    for (std::thread& thread : threads) thread.join();
  }

  Batch make(int64_t ticket);
  void work();

  const Dataset& dataset;
  const LoaderConfig config;
  const std::function<void(Batch&)> prepare;
  const int64_t first_step, first_image;
  const std::vector<Slots> pieces;
  SampleOrder order;
  BatchMemory memory;

  std::mutex mutex;
  std::condition_variable filled, emptied;
  std::vector<Place> ring;
  int64_t next_ticket = 0;  // to be made
  int64_t next_batch = 0;   // to be handed out
  bool stopping = false;

  double wait_seconds = 0;  // of the caller of next() alone
  std::vector<std::thread> threads;
};

Batch Loader::Impl::make(int64_t ticket) {
  const auto per_step = static_cast<int64_t>(pieces.size());
  const Slots piece = pieces[static_cast<size_t>(ticket % per_step)];
  const ImageShape shape = dataset.image_shape();
  Batch batch;
  batch.step = first_step + ticket / per_step;
  batch.images_seen = first_image + ticket / per_step * config.global_batch;
  batch.first_draw = batch.images_seen + piece.first;
  batch.image_ids = order.indices(batch.images_seen, config.global_batch, piece);
  std::tie(batch.images, batch.labels) = memory.take({piece.count(), shape.channels, shape.height, shape.width});
  dataset.read(batch.image_ids, {batch.images.mutable_data_ptr<uint8_t>(), static_cast<size_t>(batch.images.numel())});
  int64_t* labels = batch.labels.mutable_data_ptr<int64_t>();
  for (const int64_t id : batch.image_ids) *labels++ = dataset.label(id);
  if (prepare) prepare(batch);
  return batch;
}

void Loader::Impl::work() {
  const auto ahead = static_cast<int64_t>(ring.size());
  std::unique_lock lock(mutex);
  while (true) {
    emptied.wait(lock, [&] { return stopping || next_ticket < next_batch + ahead; });
    if (stopping) return;
    const int64_t ticket = next_ticket++;
    lock.unlock();
    Place place;
    try {
      place.batch = make(ticket);
    } catch (...) {
      place.error = std::current_exception();
    }
    lock.lock();
    ring[static_cast<size_t>(ticket % ahead)] = std::move(place);
    filled.notify_one();
  }
}

Loader::Loader(const Dataset& dataset, const LoaderConfig& config, int64_t step, int64_t images_seen,
               std::function<void(Batch&)> prepare) {
  check_no_problems(config.validate());
  impl_ = std::make_unique<Impl>(dataset, config, step, images_seen, std::move(prepare));
  for (int thread = 0; thread < config.threads; ++thread)
    impl_->threads.emplace_back([impl = impl_.get()] { impl->work(); });
}

Loader::~Loader() = default;

Batch Loader::next() {
  Impl& impl = *impl_;
  std::unique_lock lock(impl.mutex);
  Impl::Place& place = impl.ring[static_cast<size_t>(impl.next_batch) % impl.ring.size()];
  if (!place.full()) {
    const auto start = std::chrono::steady_clock::now();
    impl.filled.wait(lock, [&place] { return place.full(); });
    impl.wait_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  if (place.error) std::rethrow_exception(place.error);  // and again, if asked again
  Batch batch = std::move(*place.batch);
  place.batch.reset();
  ++impl.next_batch;
  lock.unlock();
  impl.emptied.notify_one();
  return batch;
}

double Loader::take_wait_seconds() { return std::exchange(impl_->wait_seconds, 0.0); }

int64_t Loader::micro_batches_per_step() const { return static_cast<int64_t>(impl_->pieces.size()); }

}  // namespace cfm::data
