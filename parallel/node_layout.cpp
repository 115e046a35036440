#include "parallel/node_layout.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>

#include "parallel/mpi_handle.h"

namespace cfm::parallel {
namespace {

// The lowest rank on this rank's machine.
int first_rank_here(const MpiSession& session) {
  MPI_Comm node = MPI_COMM_NULL;
  mpi_check(
      MPI_Comm_split_type(session.control().handle().comm, MPI_COMM_TYPE_SHARED, session.rank(), MPI_INFO_NULL, &node),
      "MPI_Comm_split_type");
  int first = session.rank();
  mpi_check(MPI_Bcast(&first, 1, MPI_INT, 0, node), "MPI_Bcast");
  MPI_Comm_free(&node);
  return first;
}

}  // namespace

int NodeLayout::rank_by_node() const {
  int before = 0;
  for (int n = 0; n < node; ++n) before += ranks_by_node[static_cast<size_t>(n)];
  return before + node_rank;
}

NodeLayout node_layout(const MpiSession& session, int ranks_per_node) {
  if (ranks_per_node > session.size())
    throw SharedError("--ranks_per_node=" + std::to_string(ranks_per_node) + ": the job has " +
                      std::to_string(session.size()) + " ranks; expected 1 to that, or 0: as they are placed.");
  const int mine = ranks_per_node > 0 ? session.rank() / ranks_per_node * ranks_per_node : first_rank_here(session);
  const std::vector<std::string> firsts = session.control().all_gather(std::to_string(mine));
  std::map<int, int> ranks_of;  // by the node's lowest rank
  int before_me = 0;
  for (size_t r = 0; r < firsts.size(); ++r) {
    const int first = std::stoi(firsts[r]);
    ++ranks_of[first];
    if (first == mine && static_cast<int>(r) < session.rank()) ++before_me;
  }
  NodeLayout layout{.node = static_cast<int>(std::distance(ranks_of.begin(), ranks_of.find(mine))),
                    .node_rank = before_me,
                    .node_size = ranks_of[mine],
                    .ranks_by_node = {}};
  for (const auto& [first, ranks] : ranks_of) layout.ranks_by_node.push_back(ranks);
  return layout;
}

Ranks ranks_of(const MpiSession& session, const NodeLayout& layout) {
  const auto now = std::chrono::system_clock::now().time_since_epoch().count();
  return {.rank = session.rank(),
          .size = session.size(),
          .node = layout.node,
          .nodes = layout.nodes(),
          .node_rank = layout.node_rank,
          .node_size = layout.node_size,
          .job = session.control().broadcast(std::to_string(::getpid()) + "-" + std::to_string(now)),
          .together = [&session](const std::function<void()>& work) { agree_on(session, work); },
          .from_rank0 = [&session](const std::string& text) { return session.control().broadcast(text); }};
}

}  // namespace cfm::parallel
