#pragma once
// When a device that works behind its host came to marks which the host put between its work, on the device's clock.

#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <vector>

namespace cfm::trainer {

class DeviceTimeline {
 public:
  // Of a device whose streams keep time (CUDA; not the CPU).
  explicit DeviceTimeline(c10::Device device) : device_(device) {}

  // Behind all work that this thread's current stream of the device has been given so far.
  void mark() {
    if (marks_ == events_.size()) events_.emplace_back(device_.type(), c10::EventFlag::BACKEND_DEFAULT);
    events_[marks_++].record(c10::impl::VirtualGuardImpl(device_.type()).getStream(device_));
  }

  // Seconds between each mark and the next, idle time of the device included; waits until it has come to the last.
  // Begins again.
  std::vector<double> take() {
    std::vector<double> seconds;
    if (marks_ > 0) events_[marks_ - 1].synchronize();
    for (size_t i = 1; i < marks_; ++i) seconds.push_back(1e-3 * events_[i - 1].elapsedTime(events_[i]));
    marks_ = 0;
    return seconds;
  }

 private:
  const c10::Device device_;
  std::vector<c10::Event> events_;  // to be used again
  size_t marks_ = 0;
};

}  // namespace cfm::trainer
