// What a save makes training wait at the most (it wants to change the state at once), against a memcpy of the bytes
// that this rank copies into memory that has been touched, in turn. Prints a line of JSON a pair: seconds of the
// slowest rank. For bench/checkpoint.py.
//   [mpirun -n N] bench_checkpoint_stall FOLDER BYTES PAIRS

#include <ATen/ops/full.h>

#include <chrono>
#include <cstdio>
#include <cstring>

#include "checkpoint/deal.h"
#include "checkpoint/store.h"
#include "parallel/mpi_session.h"

namespace {

using cfm::check;
using cfm::checkpoint::Part;
using cfm::parallel::MpiSession;

// Weights, an average and two moments, in tensors of 4 MB.
std::vector<Part> state_of(int64_t bytes) {
  std::vector<Part> parts{{"model", {}, {}}, {"ema_0.9999", {}, {}}, {"exp_avg", {}, {}}, {"exp_avg_sq", {}, {}}};
  for (Part& part : parts)
    for (int64_t i = 0; i < (bytes >> 24); ++i)
      part.tensors.emplace_back("tensor." + std::to_string(i), at::full({1 << 20}, static_cast<float>(i)));
  return parts;
}

template <class Work>
double seconds(const MpiSession& session, const Work& work) {
  session.control().barrier();
  const auto start = std::chrono::steady_clock::now();
  work();
  double mine = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  session.control().max({&mine, 1});
  return mine;
}

cfm::ExitCode measure(const MpiSession& session, const std::string& folder, int64_t bytes, int pairs) {
  const std::vector<Part> parts = state_of(bytes);
  std::vector<int64_t> sizes;
  for (const Part& part : parts) sizes.push_back(part.tensor_bytes());
  const std::vector<int> writers = cfm::checkpoint::deal_files(sizes, session.size());
  std::vector<std::pair<at::Tensor, at::Tensor>> copies;
  for (size_t i = 0; i < parts.size(); ++i)
    for (const auto& [name, tensor] : parts[i].tensors)
      if (writers[i] == session.rank()) copies.emplace_back(tensor, at::full({1 << 20}, -1.0F));
  cfm::checkpoint::StoreConfig config;
  config.run_dir = folder;
  config.keep_last = 1;
  cfm::checkpoint::Store store(config, session);
  for (int pair = -1; pair < pairs; ++pair) {  // the first touches memory
    for (const Part& part : parts)
      for (const auto& [name, tensor] : part.tensors) tensor.add_(1);  // as training would
    const double copied = seconds(session, [&] {
      for (auto& [from, into] : copies)
        std::memcpy(into.mutable_data_ptr(), from.const_data_ptr(), static_cast<size_t>(from.nbytes()));
    });
    cfm::checkpoint::Manifest manifest;
    manifest.progress.step = pair + 2;
    const double stall = seconds(session, [&] {
      store.save(parts, manifest);
      store.await_copy();
    });
    const auto outcome = store.collect();
    check(outcome && outcome->problem.empty(), "the save failed: " + (outcome ? outcome->problem : ""));
    for (const auto& [from, into] : copies) check(into.equal(from), "the memcpy did not copy");
    if (pair >= 0 && session.rank() == 0)
      std::printf("{\"stall_seconds\": %.9f, \"memcpy_seconds\": %.9f, \"save_seconds\": %.9f}\n", stall, copied,
                  outcome->seconds);
  }
  cfm::checkpoint::verify_checkpoint(
      cfm::checkpoint::checkpoints_folder(folder) / cfm::checkpoint::step_name(pairs + 1),
      cfm::checkpoint::read_manifest(cfm::checkpoint::checkpoints_folder(folder) /
                                     cfm::checkpoint::step_name(pairs + 1)));
  return cfm::ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return cfm::parallel::run_mpi_main(argc, argv, [&](MpiSession& session) {
    check(argc == 4, "usage: bench_checkpoint_stall FOLDER BYTES PAIRS");
    return measure(session, argv[1], std::stoll(argv[2]), std::stoi(argv[3]));
  });
}
