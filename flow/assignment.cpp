#include "flow/assignment.h"

#include <cassert>
#include <limits>
#include <utility>

namespace cfm::flow {
namespace {

constexpr int64_t kFree = -1;
constexpr int kRowPasses = 2;

// A partial assignment and prices of the columns. Kept true throughout: an assigned row's column has the least
// cost - price of its row, so that the assignment is the cheapest of the rows that it assigns.
class Assignment {
 public:
  Assignment(std::span<const double> cost, int64_t n)
      : cost_(cost),
        n_(n),
        price_(static_cast<size_t>(n)),
        column_of_(static_cast<size_t>(n), kFree),
        row_of_(static_cast<size_t>(n), kFree) {}

  // Prices are the columns' least costs; a column takes the row of its least cost if nobody has it.
  void reduce_columns() {
    for (int64_t column = 0; column < n_; ++column) {
      int64_t cheapest = 0;
      for (int64_t row = 1; row < n_; ++row) {
        if (cost(row, column) < cost(cheapest, column)) cheapest = row;
      }
      price(column) = cost(cheapest, column);
      if (column_of(cheapest) == kFree) match(cheapest, column);
    }
  }

  // Each free row takes its best column from whoever has it, and lowers the price until the second best is as good.
  void augment_rows() {
    for (const int64_t row : free_rows()) {
      double best = reduced(row, 0), second = std::numeric_limits<double>::infinity();
      int64_t at = 0;
      for (int64_t column = 1; column < n_; ++column) {
        const double value = reduced(row, column);
        if (value < best) {
          second = std::exchange(best, value);
          at = column;
        } else if (value < second) {
          second = value;
        }
      }
      if (n_ > 1) price(at) -= second - best;
      if (row_of(at) != kFree) column_of(row_of(at)) = kFree;
      match(row, at);
    }
  }

  // The cheapest chain of exchanges that gives `start` a column, by Dijkstra's search over the columns.
  void augment_path(int64_t start) {
    const auto size = static_cast<size_t>(n_);
    std::vector<double> distance(size);
    std::vector<int64_t> from(size, start), open(size), closed;
    for (int64_t column = 0; column < n_; ++column) {
      distance[static_cast<size_t>(column)] = reduced(start, column);
      open[static_cast<size_t>(column)] = column;
    }
    int64_t end = kFree;
    while (end == kFree) {
      size_t nearest = 0;
      for (size_t i = 1; i < open.size(); ++i) {
        if (distance[static_cast<size_t>(open[i])] < distance[static_cast<size_t>(open[nearest])]) nearest = i;
      }
      const int64_t column = open[nearest], row = row_of(column);
      if (row == kFree) {
        end = column;
        break;
      }
      open[nearest] = open.back();
      open.pop_back();
      closed.push_back(column);
      const double so_far = distance[static_cast<size_t>(column)] - reduced(row, column);
      for (const int64_t next : open) {
        const double value = so_far + reduced(row, next);
        if (value >= distance[static_cast<size_t>(next)]) continue;
        distance[static_cast<size_t>(next)] = value;
        from[static_cast<size_t>(next)] = row;
      }
    }
    for (const int64_t column : closed)
      price(column) += distance[static_cast<size_t>(column)] - distance[static_cast<size_t>(end)];
    for (int64_t column = end, row = kFree; row != start;) {
      row = from[static_cast<size_t>(column)];
      row_of(column) = row;
      column = std::exchange(column_of(row), column);
    }
  }

  std::vector<int64_t> free_rows() const {
    std::vector<int64_t> rows;
    for (int64_t row = 0; row < n_; ++row) {
      if (column_of_[static_cast<size_t>(row)] == kFree) rows.push_back(row);
    }
    return rows;
  }

  std::vector<int64_t> columns() && { return std::move(column_of_); }

 private:
  double cost(int64_t row, int64_t column) const { return cost_[static_cast<size_t>(row * n_ + column)]; }
  double reduced(int64_t row, int64_t column) const { return cost(row, column) - price_[static_cast<size_t>(column)]; }
  double& price(int64_t column) { return price_[static_cast<size_t>(column)]; }
  int64_t& column_of(int64_t row) { return column_of_[static_cast<size_t>(row)]; }
  int64_t& row_of(int64_t column) { return row_of_[static_cast<size_t>(column)]; }
  void match(int64_t row, int64_t column) {
    column_of(row) = column;
    row_of(column) = row;
  }

  std::span<const double> cost_;
  int64_t n_;
  std::vector<double> price_;
  std::vector<int64_t> column_of_, row_of_;
};

}  // namespace

std::vector<int64_t> assign(std::span<const double> cost, int64_t n) {
  assert(n >= 0 && cost.size() == static_cast<size_t>(n * n));
  Assignment assignment(cost, n);
  if (n == 0) return {};
  assignment.reduce_columns();
  for (int pass = 0; pass < kRowPasses; ++pass) assignment.augment_rows();
  for (const int64_t row : assignment.free_rows()) assignment.augment_path(row);
  return std::move(assignment).columns();
}

}  // namespace cfm::flow
