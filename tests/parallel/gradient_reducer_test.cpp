// On the device of support/convolution_net.h. The tests of ReducedOnCpu are about our MPI backend.
#include "parallel/gradient_reducer.h"

#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/sum.h>
#include <ATen/ops/zeros_like.h>

#include <cstring>
#include <functional>
#include <torch/csrc/distributed/c10d/ProcessGroup.hpp>

#include "parallel/mpi_backend.h"
#include "support/convolution_net.h"
#include "support/mpi_tests.h"

namespace cfm::parallel {
namespace {

using test::Batch;
using test::device;
using test::kGlobalBatch;
using test::loss_of;
using test::Net;
using test::normal;
using test::session;

struct Slots {
  int64_t first, last;
};
Slots my_slots() {
  const int64_t r = session().rank(), w = session().size();
  return {r * kGlobalBatch / w, (r + 1) * kGlobalBatch / w};
}

// A step's forwards and backwards on this rank's slots, in `micro_batches` pieces.
void run_backward(GradientReducer& reducer, const Net& net, const Batch& batch, int64_t micro_batches,
                  const std::function<void()>& all_given = nullptr) {
  const auto [first, last] = my_slots();
  reducer.begin_step();
  for (int64_t a = 0; a < micro_batches; ++a) {
    const int64_t from = first + (last - first) * a / micro_batches,
                  to = first + (last - first) * (a + 1) / micro_batches;
    const at::Tensor loss = loss_of(net, batch, from, to) * static_cast<double>(session().size());
    if (a == micro_batches - 1) reducer.sync_next_backward(all_given);
    loss.backward();
  }
  reducer.finish();
}

// `alone` is the same network, here trained by this process on the joined batch.
void expect_gradients_of_the_joined_batch(const GradientReducer& reducer, Net& alone, const Batch& batch) {
  loss_of(alone, batch, 0, kGlobalBatch).backward();
  const std::vector<at::Tensor> found = reducer.gradients();
  ASSERT_EQ(found.size(), alone.parameters.size());
  for (size_t i = 0; i < found.size(); ++i) {
    auto& [name, parameter] = alone.parameters[i];
    const double error = (found[i] - parameter.grad()).abs().max().item<double>();
    EXPECT_LT(error, 5e-6 * parameter.grad().abs().max().item<double>()) << name;
    parameter.mutable_grad().reset();
  }
}

// Several buckets for this small net.
const ReducerConfig kSmallBuckets{.bucket_bytes = 8 << 10, .first_bucket_bytes = 1 << 10};

class Reduced : public testing::Test {
 protected:
  ProcessGroup group_{session(), device(), std::chrono::seconds(60)};
  void TearDown() override { group_.shut_down(); }

  // Collectives on the gradients' device so far.
  int64_t collectives() {
    c10d::Backend& backend = *group_.c10d().getBackend(device().type());
    if (device().is_cuda()) return static_cast<int64_t>(backend.getSequenceNumberForGroup());
    const MpiBackendCounts counts = counts_of(backend);
    return counts.all_reduces + counts.broadcasts + counts.all_gathers + counts.barriers;
  }
};

class ReducedOnCpu : public Reduced {};

TEST_F(Reduced, GradientsEqualOneProcessOnTheJoinedBatch) {
  for (const int64_t micro_batches : {1, 2}) {
    Net net, alone;
    GradientReducer reducer(net.parameters, group_, kSmallBuckets);
    for (uint64_t step = 0; step < 3; ++step) {
      const Batch batch(step);
      run_backward(reducer, net, batch, micro_batches);
      expect_gradients_of_the_joined_batch(reducer, alone, batch);
      reducer.zero_gradients();
    }
  }
}

TEST_F(ReducedOnCpu, GradientsAreTheRankOrderedMeanBitForBit) {
  Net net, alone;
  GradientReducer reducer(net.parameters, group_, kSmallBuckets);
  const Batch batch(7);
  run_backward(reducer, net, batch, 2);
  // Every rank works out every rank's share, in the same two pieces.
  const int64_t w = session().size();
  std::vector<at::Tensor> mean;
  for (int64_t r = 0; r < w; ++r) {
    const int64_t first = r * kGlobalBatch / w, last = (r + 1) * kGlobalBatch / w, middle = first + (last - first) / 2;
    (loss_of(alone, batch, first, middle) * static_cast<double>(w)).backward();
    (loss_of(alone, batch, middle, last) * static_cast<double>(w)).backward();
    for (size_t i = 0; i < alone.parameters.size(); ++i) {
      at::Tensor& gradient = alone.parameters[i].second.mutable_grad();
      if (r == 0) mean.push_back(gradient.clone());
      if (r > 0) mean[i] += gradient;
      gradient.reset();
    }
  }
  const std::vector<at::Tensor> found = reducer.gradients();
  for (size_t i = 0; i < mean.size(); ++i) {
    EXPECT_TRUE(at::equal(found[i], mean[i] / static_cast<double>(w))) << alone.parameters[i].first;
  }
}

TEST_F(Reduced, AccumulationSyncsOnce) {
  Net net;
  GradientReducer reducer(net.parameters, group_, kSmallBuckets);
  std::vector<int64_t> per_step;
  for (const int64_t micro_batches : {1, 1, 2, 2}) {
    const int64_t before = collectives();
    run_backward(reducer, net, Batch(3), micro_batches);
    reducer.zero_gradients();
    per_step.push_back(collectives() - before);
  }
  EXPECT_GE(per_step[0], 3) << "the test wants several buckets";
  EXPECT_EQ(per_step, std::vector<int64_t>(4, per_step[0]));
}

TEST_F(Reduced, StartsFromTheParametersOfRankZero) {
  Net net(static_cast<uint64_t>(session().rank()) + 1), of_rank_zero(1);
  GradientReducer reducer(net.parameters, group_);
  for (size_t i = 0; i < net.parameters.size(); ++i) {
    EXPECT_TRUE(at::equal(net.parameters[i].second, of_rank_zero.parameters[i].second));
  }
}

// Steps [from, to) of SGD with momentum.
void train(GradientReducer& reducer, Net& net, std::vector<at::Tensor>& momentum, uint64_t from, uint64_t to) {
  for (uint64_t step = from; step < to; ++step) {
    run_backward(reducer, net, Batch(step), 2);
    const std::vector<at::Tensor> gradients = reducer.gradients();
    const at::NoGradGuard no_grad;
    for (size_t i = 0; i < gradients.size(); ++i) {
      momentum[i].mul_(0.9).add_(gradients[i]);
      net.parameters[i].second.add_(momentum[i], -0.05);
    }
    reducer.zero_gradients();
  }
}

std::vector<at::Tensor> zeros_of(const Net& net) {
  std::vector<at::Tensor> zeros;
  for (const auto& [name, tensor] : net.parameters) zeros.push_back(at::zeros_like(tensor));
  return zeros;
}

TEST_F(Reduced, ARestartInTheMiddleGivesTheSameWeightsBitForBit) {
  Net whole, restarted;
  std::vector<at::Tensor> momentum = zeros_of(whole), restarted_momentum = zeros_of(restarted);
  {
    GradientReducer reducer(whole.parameters, group_, kSmallBuckets);
    train(reducer, whole, momentum, 0, 6);
  }
  for (const auto& [from, to] : {std::pair<uint64_t, uint64_t>{0, 2}, {2, 3}, {3, 6}}) {
    GradientReducer reducer(restarted.parameters, group_, kSmallBuckets);
    train(reducer, restarted, restarted_momentum, from, to);
  }
  for (size_t i = 0; i < whole.parameters.size(); ++i) {
    const at::Tensor a = whole.parameters[i].second.cpu(), b = restarted.parameters[i].second.cpu();
    EXPECT_EQ(std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()), 0) << whole.parameters[i].first;
  }
}

TEST_F(ReducedOnCpu, TheSizeOfTheBucketsDoesNotChangeABit) {
  Net small, large;
  std::vector<at::Tensor> small_momentum = zeros_of(small), large_momentum = zeros_of(large);
  GradientReducer small_reducer(small.parameters, group_, kSmallBuckets), large_reducer(large.parameters, group_);
  train(small_reducer, small, small_momentum, 0, 3);
  train(large_reducer, large, large_momentum, 0, 3);
  for (size_t i = 0; i < small.parameters.size(); ++i) {
    EXPECT_TRUE(at::equal(small.parameters[i].second, large.parameters[i].second)) << small.parameters[i].first;
  }
}

TEST_F(Reduced, GradientsStayInTheBucketsFromTheStart) {
  Net net;
  GradientReducer reducer(net.parameters, group_);
  const std::vector<at::Tensor> before = reducer.gradients();
  for (const at::Tensor& gradient : before) EXPECT_EQ(gradient.abs().sum().item<float>(), 0.0f);
  run_backward(reducer, net, Batch(0), 1);
  const std::vector<at::Tensor> after = reducer.gradients();
  for (size_t i = 0; i < before.size(); ++i) EXPECT_EQ(before[i].data_ptr(), after[i].data_ptr());
  reducer.zero_gradients();
  for (const at::Tensor& gradient : after) EXPECT_EQ(gradient.abs().sum().item<float>(), 0.0f);
}

// From then on backward only waits for other ranks: which rank is the slowest is told by what a step spends there.
TEST_F(Reduced, SaysWithinBackwardWhenTheLastOfTheGradientsIsGiven) {
  Net net;
  GradientReducer reducer(net.parameters, group_, kSmallBuckets);
  for (const int64_t micro_batches : {1, 2}) {
    const int64_t before = collectives();
    std::vector<int64_t> when_said;
    run_backward(reducer, net, Batch(0), micro_batches, [&] { when_said.push_back(collectives()); });
    EXPECT_EQ(when_said, std::vector<int64_t>{collectives()}) << "once, when nothing is left to give";
    EXPECT_GE(collectives() - before, 2) << "buckets";
    reducer.zero_gradients();
  }
}

// What goes over parameters, gradients and moments in one pass takes the elements as they lie in memory.
TEST_F(Reduced, GradientsLieInMemoryAsTheirParametersDo) {
  Net net, alone;
  for (auto& [name, tensor] : net.parameters) {
    if (tensor.dim() == 4) tensor = tensor.detach().contiguous(at::MemoryFormat::ChannelsLast).set_requires_grad(true);
  }
  GradientReducer reducer(net.parameters, group_, kSmallBuckets);
  for (uint64_t step = 0; step < 2; ++step) {
    const Batch batch(step);
    run_backward(reducer, net, batch, 2);
    expect_gradients_of_the_joined_batch(reducer, alone, batch);
    for (size_t i = 0; i < net.parameters.size(); ++i) {
      const auto& [name, parameter] = net.parameters[i];
      EXPECT_EQ(reducer.gradients()[i].strides(), parameter.strides()) << name << " in step " << step;
    }
    reducer.zero_gradients();
  }
}

TEST_F(Reduced, AParameterWithoutAGradientIsAnErrorInTheSameStep) {
  Net net;
  net.add("unused", normal({4}, 9));
  GradientReducer reducer(net.parameters, group_);
  EXPECT_THROW(run_backward(reducer, net, Batch(0), 1), std::exception);
}

TEST_F(Reduced, AParameterGivenTwiceIsRefused) {
  Net net;
  net.parameters.push_back(net.parameters[0]);
  EXPECT_THROW(GradientReducer(net.parameters, group_), SharedError);
}

class ReducedOnSeveralRanks : public Reduced {};

TEST_F(ReducedOnSeveralRanks, AnotherShapeOnOneIsRefusedByAllNamingTheParameter) {
  Net net;
  if (session().rank() == session().size() - 1)
    net.parameters[4].second = normal({16, 16, 3, 1}, 1).set_requires_grad(true);
  try {
    GradientReducer reducer(net.parameters, group_);
    FAIL() << "nothing thrown";
  } catch (const SharedError& error) {
    const std::string what = error.what();
    EXPECT_NE(what.find("here conv2.weight Float [16,16,3,1]"), std::string::npos) << what;
    EXPECT_NE(what.find("on rank 0 conv2.weight Float [16,16,3,3]"), std::string::npos) << what;
    EXPECT_NE(what.find("rank " + std::to_string(session().size() - 1) + " on host"), std::string::npos) << what;
  }
}

}  // namespace
}  // namespace cfm::parallel

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
