#include "evaluator/open_images.h"

#include "parallel/node_layout.h"

namespace cfm::evaluator {

data::Dataset open_images(const std::string& data, const std::string& data_mode, const parallel::MpiSession& session,
                          data::Hdf5Process& hdf5) {
  data::DatasetOptions options;
  options.data_mode = data_mode;
  options.hdf5 = &hdf5;
  options.ranks = parallel::ranks_of(session, parallel::node_layout(session));
  return data::Dataset::open(data, options);
}

}  // namespace cfm::evaluator
