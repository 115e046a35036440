#pragma once
// A device that works behind its host, on a clock that tests set: its streams keep time as CUDA's do, it has no memory
// and no kernels.

#include <c10/core/Device.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>

#include <algorithm>
#include <memory>

namespace cfm::test {

class SimulatedGpu final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::Device device() const { return {type(), 0}; }
  // The host is busy by itself, for so many seconds.
  void host_works(double seconds) { host_ += seconds; }
  // The host hands work over, which takes the device so many seconds, and goes on at once.
  void hand_over(double seconds) { done_ = std::max(done_, host_) + seconds; }
  // The host waits until the device has done all.
  void host_waits() { host_ = std::max(host_, done_); }
  // Seconds of the events' work that the host knows not to be done.
  double behind() const { return std::max(last_event_ - host_, 0.0); }

  c10::DeviceType type() const override { return c10::DeviceType::PrivateUse1; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
  c10::Device exchangeDevice(c10::Device /*unused*/) const override { return device(); }
  c10::Device getDevice() const override { return device(); }
  void setDevice(c10::Device /*unused*/) const override {}
  void uncheckedSetDevice(c10::Device /*unused*/) const noexcept override {}
  c10::Stream getStream(c10::Device on) const override { return c10::Stream(c10::Stream::DEFAULT, on); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }

  void record(void** event, const c10::Stream& /*stream*/, c10::DeviceIndex /*index*/,
              c10::EventFlag flag) const override {
    TORCH_CHECK(flag == c10::EventFlag::BACKEND_DEFAULT, "an event that keeps no time");
    if (*event == nullptr) *event = new double;
    last_event_ = std::max(done_, host_);
    *static_cast<double*>(*event) = last_event_;
  }
  void destroyEvent(void* event, c10::DeviceIndex /*index*/) const noexcept override {
    const std::unique_ptr<double> owned(static_cast<double*>(event));
  }
  bool queryEvent(void* event) const override { return *static_cast<double*>(event) <= host_; }
  void synchronizeEvent(void* event) const override { host_ = std::max(host_, *static_cast<double*>(event)); }
  // In milliseconds, as CUDA has it.
  double elapsedTime(void* from, void* to, c10::DeviceIndex /*index*/) const override {
    return 1e3 * (*static_cast<double*>(to) - *static_cast<double*>(from));
  }

 private:
  // Seconds since the start: of the host, and when the device will have done what it was handed.
  mutable double host_ = 0, last_event_ = 0;
  double done_ = 0;
};

// The process's only one: LibTorch keeps it by its type.
inline SimulatedGpu& simulated_gpu() {
  static SimulatedGpu gpu;
  static const c10::impl::DeviceGuardImplRegistrar registered(c10::DeviceType::PrivateUse1, &gpu);
  return gpu;
}

}  // namespace cfm::test
