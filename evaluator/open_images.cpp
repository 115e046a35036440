#include "evaluator/open_images.h"

#include <unistd.h>

#include <chrono>

#include "parallel/node_layout.h"

namespace cfm::evaluator {

data::Dataset open_images(const std::string& data, const std::string& data_mode, const parallel::MpiSession& session,
                          data::Hdf5Process& hdf5) {
  const parallel::NodeLayout layout = parallel::node_layout(session);
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  data::DatasetOptions options;
  options.data_mode = data_mode;
  options.hdf5 = &hdf5;
  options.ranks = {.rank = session.rank(),
                   .size = session.size(),
                   .node = layout.node,
                   .nodes = layout.nodes(),
                   .node_rank = layout.node_rank,
                   .node_size = layout.node_size,
                   .job = session.control().broadcast(std::to_string(::getpid()) + "-" + std::to_string(now)),
                   .together = [&session](const std::function<void()>& work) { parallel::agree_on(session, work); },
                   .from_rank0 = [&session](const std::string& text) { return session.control().broadcast(text); }};
  return data::Dataset::open(data, options);
}

}  // namespace cfm::evaluator
