#include "parallel/rank_order.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/tensor.h>
#include <c10/util/BFloat16.h>
#include <c10/util/Half.h>

#include <cmath>
#include <cstring>
#include <torch/csrc/distributed/c10d/Backend.hpp>

#include "base/philox.h"
#include "parallel/mpi_backend.h"
#include "parallel/mpi_handle.h"
#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using test::session;

// Values whose sum depends on its order; any rank can make any rank's.
std::vector<float> values_of(int rank, int64_t n) {
  std::vector<float> values(static_cast<size_t>(n));
  fill_normal(values, Stream{12, Purpose::kNoise, static_cast<uint64_t>(rank)});
  for (size_t i = 0; i < values.size(); ++i)
    values[i] *= std::ldexp(1.0f, static_cast<int>((i * 7 + static_cast<size_t>(rank)) % 20));
  return values;
}

std::vector<float> sequential_sum(int64_t n) {
  std::vector<float> sum = values_of(0, n);
  for (int r = 1; r < session().size(); ++r) {
    const std::vector<float> next = values_of(r, n);
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += next[i];
  }
  return sum;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

std::vector<int64_t> lengths() {
  const int64_t ranks = session().size();
  return {0,     1,       2,       std::max<int64_t>(ranks - 1, 1), ranks, 7, 97, 1021,
          65537, 1000003, 10000019};  // the last: three chunks
}

TEST(RankOrder, TheSumIsTheSequentialSumBitForBit) {
  std::vector<float> scratch;
  for (const int64_t n : lengths()) {
    std::vector<float> values = values_of(session().rank(), n);
    reduce_in_rank_order(std::span(values), Combine::kSum, session().control().handle().comm, scratch);
    EXPECT_TRUE(same_bits(values, sequential_sum(n))) << n << " values";
  }
}

TEST(RankOrder, TheMeanIsTheSequentialSumDividedOnce) {
  std::vector<float> scratch, values = values_of(session().rank(), 1021), expected = sequential_sum(1021);
  reduce_in_rank_order(std::span(values), Combine::kMean, session().control().handle().comm, scratch);
  for (float& x : expected) x /= static_cast<float>(session().size());
  EXPECT_TRUE(same_bits(values, expected));
}

TEST(RankOrder, HalfPrecisionIsAddedInFloatAndRoundedOnce) {
  std::vector<c10::BFloat16> scratch, values;
  for (const float x : values_of(session().rank(), 515)) values.emplace_back(x);
  reduce_in_rank_order(std::span(values), Combine::kSum, session().control().handle().comm, scratch);
  std::vector<float> expected(515, 0.0f);
  for (int r = 0; r < session().size(); ++r) {
    const std::vector<float> next = values_of(r, 515);
    for (size_t i = 0; i < next.size(); ++i) expected[i] += static_cast<float>(c10::BFloat16(next[i]));
  }
  for (size_t i = 0; i < values.size(); ++i) {
    EXPECT_EQ(static_cast<float>(values[i]), static_cast<float>(c10::BFloat16(expected[i])));
  }
}

class MpiBackend : public testing::Test {
 protected:
  c10::intrusive_ptr<c10d::Backend> backend_ = make_mpi_backend(session().duplicate(), std::chrono::seconds(60));

  at::Tensor reduce(at::Tensor tensor, c10d::ReduceOp::RedOpType op) {
    std::vector<at::Tensor> tensors{tensor};
    c10d::AllreduceOptions options;
    options.reduceOp = op;
    backend_->allreduce(tensors, options)->wait();
    return tensor;
  }
};

TEST_F(MpiBackend, ReducesIntegersWithEveryOperation) {
  const int64_t rank = session().rank(), size = session().size();
  int64_t factorial = 1;
  for (int64_t i = 2; i <= size; ++i) factorial *= i;
  const auto mine = [&] { return at::tensor(std::vector<int64_t>{rank + 1, int64_t{1} << 60}); };
  EXPECT_EQ(reduce(mine(), c10d::ReduceOp::SUM)[0].item<int64_t>(), size * (size + 1) / 2);
  EXPECT_EQ(reduce(mine(), c10d::ReduceOp::PRODUCT)[0].item<int64_t>(), factorial);
  EXPECT_EQ(reduce(mine(), c10d::ReduceOp::MAX)[0].item<int64_t>(), size);
  EXPECT_EQ(reduce(mine(), c10d::ReduceOp::MIN)[0].item<int64_t>(), 1);
  EXPECT_EQ(reduce(mine(), c10d::ReduceOp::MAX)[1].item<int64_t>(), int64_t{1} << 60);
}

TEST_F(MpiBackend, RefusesWhatItWouldGetWrong) {
  EXPECT_THROW(reduce(at::empty({4}, at::kLong), c10d::ReduceOp::AVG), c10::Error);
  EXPECT_THROW(reduce(at::empty({4}, at::kFloat), c10d::ReduceOp::BAND), c10::Error);
  EXPECT_THROW(reduce(at::empty({4}, at::kComplexFloat), c10d::ReduceOp::SUM), c10::Error);
  EXPECT_THROW(reduce(at::empty({4, 4}, at::kFloat).select(1, 0), c10d::ReduceOp::SUM), c10::Error);
}

TEST_F(MpiBackend, OperationsCompleteInTheOrderOfTheirCalls) {
  std::vector<std::vector<at::Tensor>> tensors;
  std::vector<c10::intrusive_ptr<c10d::Work>> works;
  for (int64_t i = 0; i < 20; ++i) {
    tensors.push_back({at::tensor(std::vector<double>(1000, static_cast<double>(i)))});
    works.push_back(backend_->allreduce(tensors.back()));
  }
  for (size_t i = works.size(); i-- > 0;) works[i]->wait();
  for (size_t i = 0; i < works.size(); ++i) {
    EXPECT_TRUE(works[i]->isSuccess());
    EXPECT_EQ(tensors[i][0][999].item<double>(), static_cast<double>(i) * session().size());
    EXPECT_TRUE(works[i]->getFuture()->value().toTensorVector()[0].is_same(tensors[i][0]));
  }
}

TEST_F(MpiBackend, BroadcastAndAllGatherCopyTheBytes) {
  const int rank = session().rank(), size = session().size();
  std::vector<at::Tensor> mine{at::tensor(values_of(rank, 1000))};
  std::vector<std::vector<at::Tensor>> all(1);
  for (int r = 0; r < size; ++r) all[0].push_back(at::empty({1000}, at::kFloat));
  backend_->allgather(all, mine)->wait();
  for (int r = 0; r < size; ++r) EXPECT_TRUE(at::equal(all[0][static_cast<size_t>(r)], at::tensor(values_of(r, 1000))));
  c10d::BroadcastOptions options;
  options.rootRank = size - 1;
  backend_->broadcast(mine, options)->wait();
  EXPECT_TRUE(at::equal(mine[0], at::tensor(values_of(size - 1, 1000))));
  backend_->barrier()->wait();
  const MpiBackendCounts counts = counts_of(*backend_);
  EXPECT_EQ(counts.all_gathers + counts.broadcasts + counts.barriers, 3);
}

// One rank waits for nobody, and has nothing to shut down.
class MpiBackendOnSeveralRanks : public MpiBackend {};

TEST_F(MpiBackendOnSeveralRanks, OneThatWaitsTooLongGetsAnErrorThatSaysSo) {
  if (session().rank() == 0) {
    backend_->setTimeout(std::chrono::milliseconds(200));
    try {
      reduce(at::tensor(std::vector<double>{1}), c10d::ReduceOp::SUM);
      FAIL() << "no error";
    } catch (const c10::Error& error) {
      EXPECT_NE(std::string(error.what()).find("waited too long"), std::string::npos) << error.what();
    }
    EXPECT_THROW(backend_->barrier()->wait(), c10::Error);  // what comes behind fails too, at once
  }
  session().control().barrier();
}

TEST_F(MpiBackendOnSeveralRanks, RefusesOperationsAfterShutdown) {
  backend_->shutdown();
  EXPECT_THROW(reduce(at::tensor(std::vector<double>{1}), c10d::ReduceOp::SUM), c10::Error);
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
