#pragma once
// A Prometheus Pushgateway, for programs that nobody scrapes.

#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "metrics/series.h"

namespace cfm::metrics {

// Of --metrics_push: http://HOST:PORT or https://HOST:PORT, to which a path may be added; empty: none.
Problems push_problems(const std::string& url);

class PushGateway {
 public:
  // `url` has no push_problems.
  PushGateway(const std::string& url, const std::string& job);
  // Waits for what is under way, at most ten seconds.
  ~PushGateway();
  PushGateway(const PushGateway&) = delete;
  PushGateway& operator=(const PushGateway&) = delete;
  // Has the gateway's group of this job and these labels replaced by all of `series`, on a thread of its own: as they
  // stand when it gets to it. Never waits. A push that fails is warned of, once until one has come through.
  void push(const Series& series, const std::map<std::string, std::string>& labels);

 private:
  struct Shared;
  std::shared_ptr<Shared> shared_;  // with a thread that may outlast this where a gateway does not answer
};

}  // namespace cfm::metrics
