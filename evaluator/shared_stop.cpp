#include "evaluator/shared_stop.h"

#include <utility>

#include "base/durable_file.h"

namespace cfm::evaluator {

SharedStop::SharedStop(const StopSignal& signal, std::filesystem::path file)
    : signal_(signal), file_(std::move(file)), looked_(Clock::now()) {}

bool SharedStop::asked() {
  if (asked_) return true;
  if (signal_.raised() != 0) {
    ask();
  } else if (Clock::now() - looked_ > std::chrono::seconds(1)) {
    looked_ = Clock::now();
    std::error_code error;
    asked_ = std::filesystem::exists(file_, error);
  }
  return asked_;
}

void SharedStop::ask() {
  asked_ = true;
  DurableFile(file_).close();
}

void agree_on_shares(const parallel::MpiSession& session, SharedStop* stop, const std::function<void()>& share) {
  parallel::agree_on(session, [&] {
    try {
      share();
    } catch (...) {
      if (stop != nullptr) stop->ask();
      throw;
    }
  });
}

}  // namespace cfm::evaluator
