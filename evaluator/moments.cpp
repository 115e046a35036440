#include "evaluator/moments.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/outer.h>

#include <cassert>
#include <cstring>
#include <utility>

#include "base/shape.h"

namespace cfm::evaluator {
namespace {

// Little pieces of a message: numbers and tensors, one behind the other.
void put(std::string& bytes, int64_t value) { bytes.append(reinterpret_cast<const char*>(&value), sizeof value); }

void put(std::string& bytes, const at::Tensor& x) {
  bytes.append(reinterpret_cast<const char*>(x.const_data_ptr<double>()), x.nbytes());
}

int64_t take_number(const char*& at) {
  int64_t value = 0;
  std::memcpy(&value, at, sizeof value);
  at += sizeof value;
  return value;
}

at::Tensor take_tensor(const char*& at, at::IntArrayRef shape) {
  at::Tensor x = at::empty(shape, at::kDouble);
  std::memcpy(x.mutable_data_ptr<double>(), at, x.nbytes());
  at += x.nbytes();
  return x;
}

}  // namespace

Gaussian Moments::gaussian() const {
  assert(count >= 2);
  return {mean, scatter / static_cast<double>(count - 1)};
}

Moments moments_of(const at::Tensor& features) {
  check_shape(features, {-1, -1}, "features");
  assert(features.size(0) >= 1);
  const at::Tensor wide = features.cpu().to(at::kDouble);
  Moments moments{wide.size(0), wide.mean(0), {}};
  const at::Tensor centred = wide - moments.mean;
  moments.scatter = centred.t().mm(centred);
  return moments;
}

Moments merged(const Moments& a, const Moments& b) {
  const auto n = static_cast<double>(a.count + b.count);
  const double share = static_cast<double>(b.count) / n;
  const at::Tensor difference = b.mean - a.mean;
  return {a.count + b.count, a.mean + share * difference,
          (a.scatter + b.scatter).add_(at::outer(difference, difference), static_cast<double>(a.count) * share)};
}

void MomentTree::add(int64_t block, Moments moments) {
  assert(nodes_.empty() || (nodes_.back().index + 1) << nodes_.back().level == block);
  add_node({0, block, std::move(moments)});
}

void MomentTree::append(const MomentTree& following) {
  for (const Node& node : following.nodes_) add_node(node);
}

void MomentTree::add_node(Node node) {
  while (!nodes_.empty() && nodes_.back().level == node.level && nodes_.back().index + 1 == node.index &&
         node.index % 2 == 1) {
    node = {node.level + 1, node.index / 2, merged(nodes_.back().moments, node.moments)};
    nodes_.pop_back();
  }
  nodes_.push_back(std::move(node));
}

Moments MomentTree::total() const {
  assert(!nodes_.empty() && nodes_.front().index == 0);
  Moments total = nodes_.front().moments;
  for (size_t i = 1; i < nodes_.size(); ++i) total = merged(total, nodes_[i].moments);
  return total;
}

std::string MomentTree::bytes() const {
  std::string bytes;
  for (const Node& node : nodes_) {
    for (const int64_t number : {node.level, node.index, node.moments.count, node.moments.mean.size(0)})
      put(bytes, number);
    put(bytes, node.moments.mean);
    put(bytes, node.moments.scatter);
  }
  return bytes;
}

MomentTree MomentTree::from_bytes(const std::string& bytes) {
  MomentTree tree;
  const char* at = bytes.data();
  while (at < bytes.data() + bytes.size()) {
    Node node{take_number(at), take_number(at), {}};
    node.moments.count = take_number(at);
    const int64_t d = take_number(at);
    node.moments.mean = take_tensor(at, {d});
    node.moments.scatter = take_tensor(at, {d, d});
    tree.nodes_.push_back(std::move(node));
  }
  return tree;
}

}  // namespace cfm::evaluator
