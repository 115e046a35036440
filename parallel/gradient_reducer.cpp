#include "parallel/gradient_reducer.h"

#include <algorithm>
#include <array>
#include <optional>
#include <torch/csrc/distributed/c10d/comm.hpp>
#include <torch/csrc/distributed/c10d/logger.hpp>
#include <torch/csrc/distributed/c10d/reducer.hpp>
#include <unordered_map>
#include <unordered_set>

#include "base/shape.h"

namespace cfm::parallel {
namespace {

using GroupPtr = c10::intrusive_ptr<c10d::ProcessGroup>;
using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// One buffer of the first broadcast of parameters, as PyTorch's DDP has it.
constexpr size_t kBroadcastBytes = size_t{250} << 20;

// The mean over ranks. With a hook the Reducer itself never divides; NCCL and our MPI backend both know AVG.
class MeanHook : public c10d::CppCommHookInterface<GroupPtr> {
 public:
  MeanHook(GroupPtr group, const std::function<void()>* all_given)
      : CppCommHookInterface(std::move(group)), all_given_(all_given) {}
  c10::intrusive_ptr<c10::ivalue::Future> runHook(c10d::GradBucket& bucket) override {
    std::vector<at::Tensor> gradients{bucket.getBufferRef()};
    c10d::AllreduceOptions options;
    options.reduceOp = c10d::ReduceOp::AVG;
    auto done = state_->allreduce(gradients, options)->getFuture();
    if (bucket.isLast() && *all_given_) (*all_given_)();  // buckets come in their order
    return done;
  }

 private:
  const std::function<void()>* all_given_;
};

// "encoder.weight float [64,3,3,3] strides [27,1,9,3]" a line.
std::string describe(const NamedTensors& parameters) {
  std::string text;
  for (const auto& [name, tensor] : parameters) {
    text += name + " " + c10::toString(tensor.scalar_type()) + " " + shape_text(tensor.sizes()) + " strides " +
            shape_text(tensor.strides()) + "\n";
  }
  return text;
}

std::string first_line_from(const std::string& text, size_t start) {
  return start < text.size() ? text.substr(start, text.find('\n', start) - start) : "no further parameter";
}

void check_parameters(const NamedTensors& parameters) {
  check(!parameters.empty(), "gradient reducer: no parameters");
  std::unordered_set<const void*> seen;
  for (const auto& [name, tensor] : parameters) {
    check(tensor.requires_grad() && tensor.is_leaf(),
          "gradient reducer: " + name + " is not a leaf that requires a gradient");
    check(seen.insert(tensor.unsafeGetTensorImpl()).second, "gradient reducer: " + name + " is given twice");
  }
}

// Collective: every rank holds the parameters that rank 0 holds.
void check_same_parameters(const NamedTensors& parameters, const MpiSession& session) {
  agree_on(session, [&] { check_parameters(parameters); });
  const std::string mine = describe(parameters), expected = session.control().broadcast(mine);
  agree_on(session, [&] {
    if (mine == expected) return;
    size_t at = 0;
    while (at < std::min(mine.size(), expected.size()) && mine[at] == expected[at]) ++at;
    const size_t newline = at == 0 ? std::string::npos : mine.rfind('\n', at - 1);
    const size_t line = newline == std::string::npos ? 0 : newline + 1;
    throw Error("parameters differ between ranks: here " + first_line_from(mine, line) + ", on rank 0 " +
                first_line_from(expected, line) + ": every rank must build the same model");
  });
}

}  // namespace

struct GradientReducer::Impl {
  NamedTensors parameters;
  std::vector<at::Tensor> buckets;  // flat; every gradient is a view into one
  std::function<void()> all_given;
  std::shared_ptr<c10d::Reducer> reducer;
  std::shared_ptr<c10d::Logger> logger;

  void make_reducer(const GroupPtr& group, const ReducerConfig& config);
  void give_gradients_to_buckets();
};

// The buckets are final from the first step on: parameters in reverse order, near to that in which backward reaches
// them. So a restart finds the buckets that the run before it had (NCCL's sums depend on an element's place), and there
// is no first step that differs from the others.
void GradientReducer::Impl::make_reducer(const GroupPtr& group, const ReducerConfig& config) {
  std::vector<at::Tensor> reversed;
  std::unordered_map<size_t, std::string> names;
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p) {
    names.emplace(reversed.size(), p->first);
    reversed.push_back(p->second);
  }
  const std::vector<bool> dense(reversed.size(), false);
  const auto [assignment, limits] = c10d::compute_bucket_assignment_by_size(
      reversed, {static_cast<size_t>(config.first_bucket_bytes), static_cast<size_t>(config.bucket_bytes)}, dense);
  reducer = std::make_shared<c10d::Reducer>(
      reversed, assignment, group, dense, config.bucket_bytes, /*find_unused_parameters=*/false,
      /*gradient_as_bucket_view=*/true, names, config.first_bucket_bytes, /*skip_all_reduce_unused_params=*/false,
      /*use_python_reducer=*/false, /*bucket_bytes_cap_list=*/std::vector<int64_t>{}, /*batched_grad_copy=*/false,
      /*lazy_bucket_allocation=*/false);
  logger = std::make_shared<c10d::Logger>(reducer);
  reducer->set_logger(logger);
  reducer->register_comm_hook(std::make_unique<MeanHook>(group, &all_given));
  // The Reducer means to rebuild its buckets once, in the order in which gradients arrived in the first step, and keeps
  // lists that grow with every step until it has. So let it, now, in our order: it makes the buckets it has.
  reducer->push_rebuilt_params_for_all_indices();
  reducer->rebuild_buckets();
}

void GradientReducer::Impl::give_gradients_to_buckets() {
  for (c10d::GradBucket& bucket : reducer->get_grad_buckets(/*return_zero_tensors=*/false)) {
    buckets.push_back(bucket.getBuffer());
    buckets.back().zero_();
    const std::vector<at::Tensor> owners = bucket.getParameters(), views = bucket.getGradients();
    for (size_t i = 0; i < owners.size(); ++i) {
      // These views have C order, whatever the parameter's; the Reducer itself reads the elements in the parameter's.
      owners[i].mutable_grad() = views[i].as_strided(owners[i].sizes(), owners[i].strides());
    }
  }
}

GradientReducer::GradientReducer(NamedTensors parameters, const ProcessGroup& group, const ReducerConfig& config)
    : impl_(std::make_unique<Impl>()) {
  check_same_parameters(parameters, group.session());
  impl_->parameters = std::move(parameters);
  std::vector<at::Tensor> values;
  for (auto& [name, tensor] : impl_->parameters) {
    tensor.mutable_grad().reset();
    values.push_back(tensor.detach());
  }
  c10d::broadcast_coalesced(group.c10d_ptr(), values, kBroadcastBytes);
  impl_->make_reducer(group.c10d_ptr(), config);
  impl_->give_gradients_to_buckets();
}

GradientReducer::~GradientReducer() = default;

void GradientReducer::begin_step() {
  impl_->reducer->prepare_for_forward();
  impl_->reducer->rebuild_buckets();  // only checks that the last step's reduction is complete
}

void GradientReducer::sync_next_backward(std::function<void()> all_given) {
  impl_->all_given = std::move(all_given);
  impl_->reducer->prepare_for_backward({});
}

void GradientReducer::finish() { impl_->reducer->check_finalized(); }

void GradientReducer::zero_gradients() {
  for (at::Tensor& bucket : impl_->buckets) bucket.zero_();
}

std::vector<at::Tensor> GradientReducer::gradients() const {
  std::vector<at::Tensor> gradients;
  for (const auto& [name, tensor] : impl_->parameters) gradients.push_back(tensor.grad());
  return gradients;
}

}  // namespace cfm::parallel
