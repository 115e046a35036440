#include "parallel/node_layout.h"

#include "support/mpi_tests.h"

namespace cfm {
namespace {

using parallel::node_layout;
using parallel::NodeLayout;
using test::session;

TEST(NodeLayout, RanksOfOneMachineAreOneNode) {
  const NodeLayout layout = node_layout(session());
  EXPECT_EQ(layout.nodes(), 1);
  EXPECT_EQ(layout.node, 0);
  EXPECT_EQ(layout.node_rank, session().rank());
  EXPECT_EQ(layout.node_size, session().size());
  EXPECT_EQ(layout.rank_by_node(), session().rank());
}

TEST(NodeLayout, RefusesMoreRanksANodeThanThereAre) {
  const int size = session().size();
  EXPECT_THROW(node_layout(session(), size + 1), SharedError);
  EXPECT_EQ(node_layout(session(), size).nodes(), 1);
}

TEST(NodeLayout, ConsecutiveRanksPlayNodesWhereThatIsAskedFor) {
  if (session().size() == 1) return;
  const NodeLayout layout = node_layout(session(), 2);
  EXPECT_EQ(layout.nodes(), (session().size() + 1) / 2);
  EXPECT_EQ(layout.node, session().rank() / 2);
  EXPECT_EQ(layout.node_rank, session().rank() % 2);
  EXPECT_EQ(layout.ranks_by_node.front(), std::min(2, session().size()));
  EXPECT_EQ(layout.ranks_by_node.back(), session().size() % 2 == 1 ? 1 : 2);
  EXPECT_EQ(layout.rank_by_node(), session().rank());
}

TEST(NodeLayout, CountsRanksNodeByNodeHoweverTheyWereDealt) {
  // Six ranks dealt in turn to nodes of three, two and one: ranks 1 and 4 are on the second node.
  const NodeLayout fourth{.node = 1, .node_rank = 1, .node_size = 2, .ranks_by_node = {3, 2, 1}};
  EXPECT_EQ(fourth.rank_by_node(), 4);
  const NodeLayout second{.node = 1, .node_rank = 0, .node_size = 2, .ranks_by_node = {3, 2, 1}};
  EXPECT_EQ(second.rank_by_node(), 3);
}

}  // namespace
}  // namespace cfm

int main(int argc, char** argv) { return cfm::test::run_mpi_tests(argc, argv); }
