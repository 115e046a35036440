#pragma once
// Which GPU a rank takes, and what must not happen: rules that need no GPU.

#include <string>
#include <vector>

namespace cfm::parallel {

// The index of a rank's GPU among the `visible` ones that its process sees: its local rank, or 0 where the scheduler
// shows each rank a single one (two ranks on that one are found by check_distinct_gpus). Error if none is visible, or
// fewer than there are ranks on the node.
int gpu_of_rank(int local_rank, int local_size, int visible);

// A GPU as all ranks can tell it from others.
struct GpuName {
  std::string machine;  // equal for processes of one machine
  std::string pci_bus_id;
};

// Throws SharedError naming the ranks and the GPU if two ranks took the same.
void check_distinct_gpus(const std::vector<GpuName>& by_rank);

}  // namespace cfm::parallel
