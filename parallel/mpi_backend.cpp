#include "parallel/mpi_backend.h"

#include <ATen/core/List.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/jit_type.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstring>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/Backend.hpp>
#include <utility>

#include "parallel/mpi_handle.h"
#include "parallel/rank_order.h"

namespace cfm::parallel {
namespace {

using c10::ivalue::Future;
using Tensors = std::vector<at::Tensor>;

constexpr int64_t kMessageBytes = int64_t{1} << 30;  // MPI counts are ints

// The result of one operation: a future of its tensors.
class MpiWork : public c10d::Work {
 public:
  MpiWork(int rank, c10d::OpType op)
      : Work(rank, op), future_(c10::make_intrusive<Future>(c10::ListType::create(c10::TensorType::get()))) {}
  bool isCompleted() override { return future_->completed(); }
  bool isSuccess() const override { return future_->completed() && !future_->hasError(); }
  std::exception_ptr exception() const override { return future_->hasError() ? future_->exception_ptr() : nullptr; }
  bool wait(std::chrono::milliseconds) override {
    future_->waitAndThrow();
    return true;
  }
  void synchronize() override { future_->waitAndThrow(); }
  c10::intrusive_ptr<Future> getFuture() override { return future_; }
  Tensors result() override { return future_->value().toTensorVector(); }

 private:
  c10::intrusive_ptr<Future> future_;
};

Combine combine_of(const c10d::ReduceOp& op, at::ScalarType type) {
  const bool is_bool = type == at::kBool;
  switch (static_cast<c10d::ReduceOp::RedOpType>(op)) {
    case c10d::ReduceOp::SUM:
      TORCH_CHECK(!is_bool, "mpi: a sum of bool tensors; use MAX (any) or MIN (all)");
      return Combine::kSum;
    case c10d::ReduceOp::AVG:
      TORCH_CHECK(at::isFloatingType(type), "mpi: the average of ", type, " tensors is not a ", type);
      return Combine::kMean;
    case c10d::ReduceOp::MIN:
      return Combine::kMin;
    case c10d::ReduceOp::MAX:
      return Combine::kMax;
    case c10d::ReduceOp::PRODUCT:
      return Combine::kProduct;
    default:
      TORCH_CHECK(false, "mpi: this reduction is not supported: only SUM, AVG, MIN, MAX, PRODUCT");
  }
}

void check_tensor(const at::Tensor& tensor) {
  TORCH_CHECK(tensor.device().is_cpu(), "mpi: a tensor on ", tensor.device(), "; this backend takes CPU tensors");
  TORCH_CHECK(tensor.layout() == at::kStrided && tensor.is_non_overlapping_and_dense(),
              "mpi: a tensor whose elements do not lie densely in memory");
}

// Calls f with a T* and a std::type_identity-like null pointer of the element type of `tensor`.
template <typename F>
void with_elements(const at::Tensor& tensor, const F& f) {
  const auto run = [&]<typename T>(T* /*type*/) {
    f(std::span<T>(static_cast<T*>(tensor.data_ptr()), static_cast<size_t>(tensor.numel())));
  };
  switch (tensor.scalar_type()) {
    case at::kFloat:
      return run(static_cast<float*>(nullptr));
    case at::kDouble:
      return run(static_cast<double*>(nullptr));
    case at::kBFloat16:
      return run(static_cast<c10::BFloat16*>(nullptr));
    case at::kHalf:
      return run(static_cast<c10::Half*>(nullptr));
    case at::kLong:
      return run(static_cast<int64_t*>(nullptr));
    case at::kInt:
      return run(static_cast<int32_t*>(nullptr));
    case at::kChar:
      return run(static_cast<int8_t*>(nullptr));
    case at::kByte:
    case at::kBool:
      return run(static_cast<uint8_t*>(nullptr));
    default:
      TORCH_CHECK(false, "mpi: all-reduce of ", tensor.scalar_type(), " tensors is not supported");
  }
}

class MpiBackend : public c10d::Backend {
 public:
  MpiBackend(Communicator communicator, std::chrono::milliseconds timeout)
      : Backend(communicator.rank(), communicator.size()), communicator_(std::move(communicator)), timeout_(timeout) {
    if (getSize() > 1) thread_ = std::thread([this] { serve(); });
  }
  ~MpiBackend() override {
    giving_up_ = true;  // a rank that is unwinding alone must not wait for the others
    stop_thread();
  }
  const std::string getBackendName() const override { return "mpi"; }
  void shutdown() override { stop_thread(); }
  void setTimeout(std::chrono::milliseconds timeout) override { timeout_ = timeout; }

  c10::intrusive_ptr<c10d::Work> allreduce(Tensors& tensors, const c10d::AllreduceOptions& options) override {
    for (const at::Tensor& tensor : tensors) {
      check_tensor(tensor);
      combine_of(options.reduceOp, tensor.scalar_type());
      with_elements(tensor, [](const auto&) {});  // refuses a type here, on the caller's thread
    }
    ++counts_.all_reduces;
    return submit(c10d::OpType::ALLREDUCE, tensors, [this, op = options.reduceOp](at::Tensor& tensor) {
      const Combine combine = combine_of(op, tensor.scalar_type());
      with_elements(tensor, [&]<typename T>(std::span<T> values) {
        reduce_in_rank_order(values, combine, comm(), std::get<std::vector<T>>(scratch_));
      });
    });
  }

  c10::intrusive_ptr<c10d::Work> broadcast(Tensors& tensors, const c10d::BroadcastOptions& options) override {
    for (const at::Tensor& tensor : tensors) check_tensor(tensor);
    ++counts_.broadcasts;
    return submit(c10d::OpType::BROADCAST, tensors, [this, root = static_cast<int>(options.rootRank)](at::Tensor& t) {
      const auto bytes = static_cast<int64_t>(t.nbytes());
      for (int64_t start = 0; start < bytes; start += kMessageBytes) {
        const int count = static_cast<int>(std::min(kMessageBytes, bytes - start));
        mpi_check(MPI_Bcast(static_cast<std::byte*>(t.data_ptr()) + start, count, MPI_BYTE, root, comm()), "MPI_Bcast");
      }
    });
  }

  c10::intrusive_ptr<c10d::Work> allgather(std::vector<Tensors>& outputs, Tensors& inputs,
                                           const c10d::AllgatherOptions&) override {
    TORCH_CHECK(inputs.size() == 1 && outputs.size() == 1 && outputs[0].size() == static_cast<size_t>(getSize()),
                "mpi: all-gather takes one tensor and an output for each rank");
    check_tensor(inputs[0]);
    for (const at::Tensor& output : outputs[0]) {
      check_tensor(output);
      TORCH_CHECK(output.nbytes() == inputs[0].nbytes() && output.strides() == inputs[0].strides(),
                  "mpi: all-gather with an output that is not laid out as the input");
    }
    ++counts_.all_gathers;
    // Rank by rank, into the outputs themselves: no second copy, and no count that could overflow.
    return submit(
        c10d::OpType::ALLGATHER, outputs[0],
        [this, input = inputs[0], r = 0](at::Tensor& output) mutable {
          const int root = r++;
          if (root == getRank()) std::memcpy(output.data_ptr(), input.data_ptr(), input.nbytes());
          const auto bytes = static_cast<int64_t>(output.nbytes());
          for (int64_t start = 0; getSize() > 1 && start < bytes; start += kMessageBytes) {
            const int count = static_cast<int>(std::min(kMessageBytes, bytes - start));
            mpi_check(MPI_Bcast(static_cast<std::byte*>(output.data_ptr()) + start, count, MPI_BYTE, root, comm()),
                      "MPI_Bcast");
          }
        },
        /*even_alone=*/true);
  }

  c10::intrusive_ptr<c10d::Work> barrier(const c10d::BarrierOptions&) override {
    ++counts_.barriers;
    Tensors none;
    return submit(c10d::OpType::BARRIER, none, [](at::Tensor&) {});
  }

  MpiBackendCounts counts() const { return counts_; }

 private:
  MPI_Comm comm() const { return communicator_.handle().comm; }

  // Queues one operation: all ranks meet, then `run` takes the tensors in turn. On one rank there is nothing to do,
  // unless the outputs are other tensors than the inputs (`even_alone`).
  template <typename Run>
  c10::intrusive_ptr<c10d::Work> submit(c10d::OpType op, Tensors tensors, Run run, bool even_alone = false) {
    auto work = c10::make_intrusive<MpiWork>(getRank(), op);
    if (getSize() == 1) {
      if (even_alone) std::for_each(tensors.begin(), tensors.end(), run);
      work->getFuture()->markCompleted(c10::IValue(tensors));
      return work;
    }
    auto job = [this, op, work, tensors = std::move(tensors), run = std::move(run)]() mutable {
      complete(*work, tensors, op, run);
    };
    {
      const std::lock_guard lock(mutex_);
      TORCH_CHECK(!stopping_, "mpi: ", c10d::opTypeToString(op), " after shutdown");
      queue_.emplace_back(std::move(job));
    }
    wake_.notify_one();
    return work;
  }

  template <typename Run>
  void complete(MpiWork& work, Tensors& tensors, c10d::OpType op, Run& run) {
    const int64_t number = ++operation_;
    try {
      if (!failure_.empty()) C10_THROW_ERROR(DistBackendError, "mpi: an earlier operation failed: " + failure_);
      meet_others(number, op);
      try {
        std::for_each(tensors.begin(), tensors.end(), std::ref(run));
      } catch (const Error& error) {
        C10_THROW_ERROR(DistBackendError, std::string("mpi: ") + error.what());
      }
    } catch (const c10::Error& error) {
      if (failure_.empty()) failure_ = error.what_without_backtrace();
      work.getFuture()->setError(std::current_exception());
      return;
    }
    work.getFuture()->markCompleted(c10::IValue(tensors));
  }

  void meet_others(int64_t number, c10d::OpType op) {
    const WaitLimits limits{timeout_.load(), [this] { return giving_up_.load(); }};
    if (meet(comm(), limits)) return;
    C10_THROW_ERROR(DistBackendError,
                    c10::str("mpi: rank ", getRank(),
                             giving_up_ ? " gave up on" : " waited too long for other ranks in", " operation ", number,
                             " (", c10d::opTypeToString(op), ", time-out ", timeout_.load().count(), " ms)"));
  }

  void serve() {
    while (true) {
      std::function<void()> job;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        job = std::move(queue_.front());
        queue_.pop_front();
      }
      job();
    }
  }

  void stop_thread() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  Communicator communicator_;
  std::atomic<std::chrono::milliseconds> timeout_;
  MpiBackendCounts counts_;
  // Of the thread alone.
  int64_t operation_ = 0;
  std::string failure_;
  std::tuple<std::vector<float>, std::vector<double>, std::vector<c10::BFloat16>, std::vector<c10::Half>,
             std::vector<int64_t>, std::vector<int32_t>, std::vector<int8_t>, std::vector<uint8_t>>
      scratch_;
  std::atomic<bool> giving_up_{false};
  std::mutex mutex_;
  std::condition_variable wake_;
  bool stopping_ = false;
  std::deque<std::function<void()>> queue_;
  std::thread thread_;  // last: it uses all of the above
};

}  // namespace

c10::intrusive_ptr<c10d::Backend> make_mpi_backend(Communicator communicator, std::chrono::milliseconds timeout) {
  return c10::make_intrusive<MpiBackend>(std::move(communicator), timeout);
}

MpiBackendCounts counts_of(const c10d::Backend& backend) { return dynamic_cast<const MpiBackend&>(backend).counts(); }

}  // namespace cfm::parallel
