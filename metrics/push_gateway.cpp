#include "metrics/push_gateway.h"

#include <prometheus/collectable.h>
#include <prometheus/gateway.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <tuple>
#include <utility>

#include "base/log.h"

namespace cfm::metrics {
namespace {

constexpr std::chrono::seconds kPatience(10);

bool is_plain(const std::string& value) {
  return !value.empty() && std::ranges::all_of(value, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
  });
}

// RFC 4648, section 5, without padding; "=" for nothing, as a Pushgateway reads it.
std::string base64url(const std::string& text) {
  constexpr const char* kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  std::string coded;
  uint32_t bits = 0;
  int held = 0;
  for (const char c : text) {
    bits = bits << 8 | static_cast<unsigned char>(c);
    for (held += 8; held >= 6; held -= 6) coded += kDigits[bits >> (held - 6) & 63];
  }
  if (held > 0) coded += kDigits[bits << (6 - held) & 63];
  return coded.empty() ? "=" : coded;
}

// Labels as parts of a path, which the library does not code. [Pushgateway's README, "URL"]
std::map<std::string, std::string> in_a_path(const std::map<std::string, std::string>& labels) {
  std::map<std::string, std::string> coded;
  for (const auto& [name, value] : labels)
    coded[is_plain(value) ? name : name + "@base64"] = is_plain(value) ? value : base64url(value);
  return coded;
}

// "http://HOST" and "PORT/maybe/a/path", as prometheus::Gateway joins them; empty if it is no such address.
std::pair<std::string, std::string> host_and_port(std::string url) {
  while (url.ends_with('/')) url.pop_back();
  const size_t scheme = url.starts_with("http://") ? 7 : url.starts_with("https://") ? 8 : 0;
  const size_t colon = url.find(':', url.find(']', scheme) == std::string::npos ? scheme : url.find(']', scheme));
  if (scheme == 0 || colon == std::string::npos || colon == scheme) return {};
  const std::string port = url.substr(colon + 1);
  const size_t digits = std::min(port.find_first_not_of("0123456789"), port.size());
  if (digits == 0 || (digits < port.size() && port[digits] != '/')) return {};
  return {url.substr(0, colon), port};
}

}  // namespace

struct PushGateway::Shared {
  using Labels = std::map<std::string, std::string>;
  std::string url, host, port, job;
  std::mutex mutex;
  std::condition_variable wake;
  std::map<Labels, std::shared_ptr<prometheus::Collectable>> waiting;  // one a group: the last is enough
  bool busy = false, ending = false, warned = false;

  // Beside the thread itself nobody calls this.
  void work() {
    std::unique_lock lock(mutex);
    for (;;) {
      wake.wait(lock, [this] { return ending || !waiting.empty(); });
      if (waiting.empty()) return;
      const auto [labels, series] = *waiting.begin();
      waiting.erase(waiting.begin());
      busy = true;
      lock.unlock();
      const int status = pushed(labels, series);
      lock.lock();
      if (status >= 200 && status < 300) {
        warned = false;
      } else if (!std::exchange(warned, true)) {
        warn("metrics: " + url + (status > 0 ? " answers " + std::to_string(status) : " gives no answer") +
             " to a push. The evaluation goes on");
      }
      busy = false;
      wake.notify_all();
    }
  }
  // The status of HTTP; not above 0 if there was no answer.
  int pushed(const Labels& labels, const std::shared_ptr<prometheus::Collectable>& series) const try {
    prometheus::Gateway gateway(host, port, job, in_a_path(labels));
    gateway.RegisterCollectable(series);
    return gateway.Push();
  } catch (const std::exception&) {
    return 0;
  }
};

Problems push_problems(const std::string& url) {
  if (url.empty() || !host_and_port(url).first.empty()) return {};
  return {"--metrics_push=" + url + ": expected http://HOST:PORT"};
}

PushGateway::PushGateway(const std::string& url, const std::string& job) : shared_(std::make_shared<Shared>()) {
  shared_->url = url;
  shared_->job = job;
  std::tie(shared_->host, shared_->port) = host_and_port(url);
  // Not joined: a gateway that takes a request and never answers would hold up the program's end.
  std::thread([shared = shared_] { shared->work(); }).detach();
}

PushGateway::~PushGateway() {
  std::unique_lock lock(shared_->mutex);
  shared_->ending = true;
  shared_->wake.notify_all();
  if (!shared_->wake.wait_for(lock, kPatience, [this] { return shared_->waiting.empty() && !shared_->busy; }))
    warn("metrics: " + shared_->url + " does not answer: what was to be pushed last is not there");
}

void PushGateway::push(const Series& series, const std::map<std::string, std::string>& labels) {
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->waiting[labels] = series.collectable();
  }
  shared_->wake.notify_all();
}

}  // namespace cfm::metrics
