#pragma once
#include <functional>
#include <string>

namespace cfm {

// What a folder that knows no MPI knows of the other ranks: numbers, and two ways to act together. The defaults are
// those of a program that is alone; parallel/node_layout.h makes those of a session.
struct Ranks {
  int rank = 0, size = 1;            // of the job
  int node = 0, nodes = 1;           // numbered by their lowest rank
  int node_rank = 0, node_size = 1;  // among the ranks of this node
  std::string job = "alone";         // the same text on all ranks, and no other job's
  // Runs `work` on every rank: all return, or all throw. Collective.
  std::function<void(const std::function<void()>&)> together = [](const std::function<void()>& work) { work(); };
  // What rank 0 hands in. Collective.
  std::function<std::string(const std::string&)> from_rank0 = [](const std::string& text) { return text; };
};

}  // namespace cfm
