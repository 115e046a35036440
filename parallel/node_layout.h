#pragma once
#include <vector>

#include "base/ranks.h"
#include "parallel/mpi_session.h"

namespace cfm::parallel {

// Which ranks share a node. Nodes are numbered by their lowest rank, a node's ranks by their own.
struct NodeLayout {
  int node = 0, node_rank = 0, node_size = 1;
  std::vector<int> ranks_by_node = {1};  // how many each node has
  int nodes() const { return static_cast<int>(ranks_by_node.size()); }
  // This rank's number if ranks are counted node by node: its rank in MPI too, unless the launcher dealt ranks in turn.
  int rank_by_node() const;
};

// As the ranks are placed (ranks that share memory), or, for trying several nodes on one machine, `ranks_per_node`
// consecutive ranks a node (0: as they are placed). Collective.
NodeLayout node_layout(const MpiSession& session, int ranks_per_node = 0);

// The session's ranks for those who know no MPI. Refers to `session`. Collective.
Ranks ranks_of(const MpiSession& session, const NodeLayout& layout);

}  // namespace cfm::parallel
