#include "data/descriptor.h"

#include <unistd.h>

namespace cfm::data {

Descriptor::~Descriptor() {
  if (is_open()) ::close(number_);
}

}  // namespace cfm::data
