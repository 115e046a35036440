#pragma once
#include <ATen/autocast_mode.h>

namespace cfm::trainer {

// While it lives, the operations of a forward pass that gain from it run in bfloat16. Leave it before backward.
class Autocast {
 public:
  Autocast(bool bf16, c10::DeviceType device) : bf16_(bf16), device_(device) {
    if (!bf16_) return;
    at::autocast::set_autocast_enabled(device_, true);
    at::autocast::set_autocast_dtype(device_, at::kBFloat16);
    at::autocast::increment_nesting();
  }
  ~Autocast() {
    if (!bf16_) return;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device_, false);
  }
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool bf16_;
  c10::DeviceType device_;
};

}  // namespace cfm::trainer
