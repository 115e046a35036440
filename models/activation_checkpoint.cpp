#include "models/activation_checkpoint.h"

#include <ATen/autocast_mode.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/error.h"

namespace cfm::models {
namespace {

using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

struct AutocastState {
  at::DeviceType device;
  bool enabled;
  at::ScalarType type;
};

AutocastState autocast_state(at::DeviceType device) {
  return {device, at::autocast::is_autocast_enabled(device), at::autocast::get_autocast_dtype(device)};
}

void set_autocast_state(const AutocastState& state) {
  at::autocast::set_autocast_enabled(state.device, state.enabled);
  at::autocast::set_autocast_dtype(state.device, state.type);
}

// Sets the autocast state within a scope. Its cache of cast weights is off: what a forward without gradients puts there
// has no graph, and the second forward would be given it.
class AutocastScope {
 public:
  explicit AutocastScope(const AutocastState& state)
      : before_(autocast_state(state.device)), cache_before_(at::autocast::is_autocast_cache_enabled()) {
    set_autocast_state(state);
    at::autocast::set_autocast_cache_enabled(false);
  }
  ~AutocastScope() {
    set_autocast_state(before_);
    at::autocast::set_autocast_cache_enabled(cache_before_);
  }
  AutocastScope(const AutocastScope&) = delete;
  AutocastScope& operator=(const AutocastScope&) = delete;

 private:
  AutocastState before_;
  bool cache_before_;
};

// What backward needs beside the tensors.
struct Recipe : torch::CustomClassHolder {
  Segment segment;
  AutocastState autocast;
  size_t inputs;  // that many of the saved tensors; the rest are parameters
  Recipe(Segment s, const AutocastState& a, size_t n) : segment(std::move(s)), autocast(a), inputs(n) {}
};

class ActivationCheckpoint : public torch::autograd::Function<ActivationCheckpoint> {
 public:
  static at::Tensor forward(AutogradContext* ctx, const c10::intrusive_ptr<Recipe>& recipe, at::TensorList tensors) {
    ctx->save_for_backward(tensors.vec());
    ctx->saved_data["recipe"] = c10::IValue::make_capsule(recipe);
    const AutocastScope scope(recipe->autocast);
    return recipe->segment(tensors.slice(0, recipe->inputs).vec());
  }

  static variable_list backward(AutogradContext* ctx, const variable_list& grads) {
    check(!at::GradMode::is_enabled(),
          "activation checkpointing has no second derivative; build the network with activation_checkpointing = false");
    const auto capsule = ctx->saved_data["recipe"].toCapsule();
    const Recipe& recipe = static_cast<const Recipe&>(*capsule);
    variable_list tensors = ctx->get_saved_variables();
    for (size_t i = 0; i < recipe.inputs; ++i)
      tensors[i] = tensors[i].detach().set_requires_grad(tensors[i].requires_grad());
    variable_list wanted;
    std::copy_if(tensors.begin(), tensors.end(), std::back_inserter(wanted),
                 [](const at::Tensor& x) { return x.requires_grad(); });
    variable_list found;
    {
      const at::AutoGradMode with_gradients(true);
      at::Tensor out;
      {
        const AutocastScope scope(recipe.autocast);
        out = recipe.segment({tensors.begin(), tensors.begin() + static_cast<std::ptrdiff_t>(recipe.inputs)});
      }
      found = torch::autograd::grad({out}, wanted, grads, /*retain_graph=*/false, /*create_graph=*/false,
                                    /*allow_unused=*/true);
    }
    variable_list gradients{at::Tensor()};  // of the recipe
    size_t next = 0;
    for (const at::Tensor& x : tensors) gradients.push_back(x.requires_grad() ? found[next++] : at::Tensor());
    return gradients;
  }
};

}  // namespace

at::Tensor activation_checkpoint(const Segment& segment, const std::vector<at::Tensor>& inputs,
                                 const std::vector<at::Tensor>& parameters) {
  if (!at::GradMode::is_enabled()) return segment(inputs);
  std::vector<at::Tensor> tensors = inputs;
  tensors.insert(tensors.end(), parameters.begin(), parameters.end());
  const auto recipe =
      c10::make_intrusive<Recipe>(segment, autocast_state(inputs.front().device().type()), inputs.size());
  return ActivationCheckpoint::apply(recipe, at::TensorList(tensors));
}

}  // namespace cfm::models
