#pragma once
// Mean and covariance of feature vectors, in float64, merged so that the bits do not depend on who computed what.

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace cfm::evaluator {

// What a Frechet distance sees of a set of features.
struct Gaussian {
  at::Tensor mean, covariance;  // float64 [d], [d,d]
};

struct Moments {
  int64_t count = 0;
  at::Tensor mean;            // float64 [d]
  at::Tensor scatter;         // float64 [d,d]: sum of (f - mean)(f - mean)^T
  Gaussian gaussian() const;  // covariance = scatter / (count - 1); REQUIRES: count >= 2
};

// features: [n,d], n >= 1, of any floating-point type.
Moments moments_of(const at::Tensor& features);

// Of both sets together. [Chan, Golub, LeVeque 1979: no difference of large numbers]
Moments merged(const Moments& a, const Moments& b);

// The moments of numbered blocks of images, merged as a binary tree over the numbers: siblings 2i and 2i + 1 of a level
// as soon as both are there. Whoever adds which blocks, the same pairs are merged in the same order, so the total is
// the same bits; and no more than two nodes a level are ever held.
class MomentTree {
 public:
  // REQUIRES: `block` is the one after the last that is in the tree (any, in an empty tree).
  void add(int64_t block, Moments moments);
  // Nodes of a tree over the blocks that follow this one's.
  void append(const MomentTree& following);
  bool empty() const { return nodes_.empty(); }
  // Of all blocks, from block 0 on.
  Moments total() const;

  // For the way between ranks.
  std::string bytes() const;
  static MomentTree from_bytes(const std::string& bytes);

 private:
  struct Node {
    int64_t level, index;  // blocks index * 2^level to (index + 1) * 2^level - 1
    Moments moments;
  };
  void add_node(Node node);
  std::vector<Node> nodes_;  // in the blocks' order
};

}  // namespace cfm::evaluator
