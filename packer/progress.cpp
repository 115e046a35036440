#include "packer/progress.h"

#include <algorithm>

#include "base/grouped_number.h"
#include "base/log.h"

namespace cfm::packer {

Progress::Progress(int64_t images) : total_(images) {}

std::string Progress::text() const {
  const double seconds = std::chrono::duration<double>(Clock::now() - start_).count();
  const double rate = static_cast<double>(std::max<int64_t>(done_, 1)) / seconds;
  const auto left = static_cast<int64_t>(static_cast<double>(total_ - done_) / rate);
  return "packing  " + grouped(done_) + " of " + grouped(total_) + " images, " + grouped(static_cast<int64_t>(rate)) +
         " images/s, " + std::to_string(left / 60) + " min " + std::to_string(left % 60) + " s left";
}

void Progress::add(int64_t images) {
  done_ += images;
  const auto interval = line_.live() ? std::chrono::milliseconds(200) : std::chrono::seconds(30);
  if (Clock::now() - last_ < interval) return;
  last_ = Clock::now();
  if (line_.live()) return line_.show(text());
  say(text());
}

}  // namespace cfm::packer
