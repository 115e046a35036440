// The all-reduce of a network's gradients, as the trainer makes it (buckets of 25 MiB, the mean, on the backend's
// thread), against a memcpy of the same bytes by every rank, in turn. Rank 0 prints a line of JSON a pair: seconds of
// the slowest rank. For bench/scaling.py.
//   mpirun -n 2 bench_all_reduce BYTES PAIRS

#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>

#include <chrono>
#include <cstdio>
#include <cstring>
#include <string>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "parallel/gradient_reducer.h"
#include "parallel/mpi_backend.h"
#include "parallel/mpi_session.h"

namespace {

using cfm::check;
using cfm::parallel::MpiSession;

// Of the slowest rank, from the moment when all are here.
template <class Work>
double seconds(const MpiSession& session, const Work& work) {
  session.control().barrier();
  const auto start = std::chrono::steady_clock::now();
  work();
  double mine = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  session.control().max({&mine, 1});
  return mine;
}

cfm::ExitCode measure(const MpiSession& session, int64_t bytes, int pairs) {
  const auto backend = cfm::parallel::make_mpi_backend(session.duplicate(), std::chrono::seconds(60));
  const int64_t count = bytes / 4, bucket = cfm::parallel::ReducerConfig{}.bucket_bytes / 4;
  at::Tensor gradients = at::full({count}, 0.0f), copy = at::full({count}, 0.0f);
  const double mean = (session.size() + 1) / 2.0;
  for (int pair = -1; pair < pairs; ++pair) {  // the first is to warm up
    gradients.fill_(session.rank() + 1);
    const double all_reduce = seconds(session, [&] {
      std::vector<c10::intrusive_ptr<c10d::Work>> works;
      c10d::AllreduceOptions options;
      options.reduceOp = c10d::ReduceOp::AVG;
      for (int64_t first = 0; first < count; first += bucket) {
        std::vector<at::Tensor> part{gradients.narrow(0, first, std::min(bucket, count - first))};
        works.push_back(backend->allreduce(part, options));
      }
      for (const auto& work : works) work->wait();
    });
    check((gradients == mean).all().item<bool>(), "the all-reduce did not give the mean over ranks");
    copy.fill_(0);
    const double copied = seconds(session, [&] {
      std::memcpy(copy.mutable_data_ptr(), gradients.const_data_ptr(), static_cast<size_t>(count) * sizeof(float));
    });
    check(copy.equal(gradients), "the memcpy did not copy");
    if (pair >= 0 && session.rank() == 0)
      std::printf("{\"all_reduce_seconds\": %.9f, \"memcpy_seconds\": %.9f}\n", all_reduce, copied);
  }
  backend->shutdown();
  return cfm::ExitCode::kDone;
}

}  // namespace

int main(int argc, char** argv) {
  return cfm::parallel::run_mpi_main(argc, argv, [&](MpiSession& session) {
    check(argc == 3, "usage: mpirun -n 2 bench_all_reduce BYTES PAIRS");
    return measure(session, std::stoll(argv[1]), std::stoi(argv[2]));
  });
}
