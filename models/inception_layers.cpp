#include "models/inception_layers.h"

#include "models/inception.h"

namespace cfm::models {
namespace {

using Kernel = std::array<int64_t, 2>;
constexpr Kernel k1x1{1, 1}, k3x3{3, 3}, k5x5{5, 5}, k1x7{1, 7}, k7x1{7, 1}, k1x3{1, 3}, k3x1{3, 1};

// The layers of one block.
class Block {
 public:
  Block(std::vector<InceptionLayer>& layers, std::string name) : layers_(layers), name_(std::move(name)) {}
  void add(const std::string& branch, int64_t in, int64_t out, Kernel kernel) {
    layers_.push_back({name_ + "." + branch, in, out, kernel});
  }
  void add_halving(const std::string& branch, int64_t in, int64_t out) {
    layers_.push_back({name_ + "." + branch, in, out, k3x3, 2, false});
  }

 private:
  std::vector<InceptionLayer>& layers_;
  std::string name_;
};

void add_35(Block block, int64_t in, int64_t pool) {
  block.add("branch1x1", in, 64, k1x1);
  block.add("branch5x5_1", in, 48, k1x1);
  block.add("branch5x5_2", 48, 64, k5x5);
  block.add("branch3x3dbl_1", in, 64, k1x1);
  block.add("branch3x3dbl_2", 64, 96, k3x3);
  block.add("branch3x3dbl_3", 96, 96, k3x3);
  block.add("branch_pool", in, pool, k1x1);
}

void add_35_to_17(Block block) {
  block.add_halving("branch3x3", 288, 384);
  block.add("branch3x3dbl_1", 288, 64, k1x1);
  block.add("branch3x3dbl_2", 64, 96, k3x3);
  block.add_halving("branch3x3dbl_3", 96, 96);
}

void add_17(Block block, int64_t middle) {
  block.add("branch1x1", 768, 192, k1x1);
  block.add("branch7x7_1", 768, middle, k1x1);
  block.add("branch7x7_2", middle, middle, k1x7);
  block.add("branch7x7_3", middle, 192, k7x1);
  block.add("branch7x7dbl_1", 768, middle, k1x1);
  block.add("branch7x7dbl_2", middle, middle, k7x1);
  block.add("branch7x7dbl_3", middle, middle, k1x7);
  block.add("branch7x7dbl_4", middle, middle, k7x1);
  block.add("branch7x7dbl_5", middle, 192, k1x7);
  block.add("branch_pool", 768, 192, k1x1);
}

void add_17_to_8(Block block) {
  block.add("branch3x3_1", 768, 192, k1x1);
  block.add_halving("branch3x3_2", 192, 320);
  block.add("branch7x7x3_1", 768, 192, k1x1);
  block.add("branch7x7x3_2", 192, 192, k1x7);
  block.add("branch7x7x3_3", 192, 192, k7x1);
  block.add_halving("branch7x7x3_4", 192, 192);
}

void add_8(Block block, int64_t in) {
  block.add("branch1x1", in, 320, k1x1);
  block.add("branch3x3_1", in, 384, k1x1);
  block.add("branch3x3_2a", 384, 384, k1x3);
  block.add("branch3x3_2b", 384, 384, k3x1);
  block.add("branch3x3dbl_1", in, 448, k1x1);
  block.add("branch3x3dbl_2", 448, 384, k3x3);
  block.add("branch3x3dbl_3a", 384, 384, k1x3);
  block.add("branch3x3dbl_3b", 384, 384, k3x1);
  block.add("branch_pool", in, 192, k1x1);
}

}  // namespace

std::vector<InceptionLayer> inception_layers() {
  std::vector<InceptionLayer> layers{{"Conv2d_1a_3x3", 3, 32, k3x3, 2, false},
                                     {"Conv2d_2a_3x3", 32, 32, k3x3, 1, false},
                                     {"Conv2d_2b_3x3", 32, 64, k3x3},
                                     {"Conv2d_3b_1x1", 64, 80, k1x1},
                                     {"Conv2d_4a_3x3", 80, 192, k3x3, 1, false}};
  add_35({layers, "Mixed_5b"}, 192, 32);
  add_35({layers, "Mixed_5c"}, 256, 64);
  add_35({layers, "Mixed_5d"}, 288, 64);
  add_35_to_17({layers, "Mixed_6a"});
  add_17({layers, "Mixed_6b"}, 128);
  add_17({layers, "Mixed_6c"}, 160);
  add_17({layers, "Mixed_6d"}, 160);
  add_17({layers, "Mixed_6e"}, 192);
  add_17_to_8({layers, "Mixed_7a"});
  add_8({layers, "Mixed_7b"}, 1280);
  add_8({layers, "Mixed_7c"}, 2048);
  return layers;
}

std::vector<std::pair<std::string, std::vector<int64_t>>> inception_shapes() {
  std::vector<std::pair<std::string, std::vector<int64_t>>> shapes;
  for (const InceptionLayer& layer : inception_layers()) {
    shapes.emplace_back(layer.name + ".conv.weight",
                        std::vector<int64_t>{layer.out, layer.in, layer.kernel[0], layer.kernel[1]});
    for (const char* part : {".bn.weight", ".bn.bias", ".bn.running_mean", ".bn.running_var"})
      shapes.emplace_back(layer.name + part, std::vector<int64_t>{layer.out});
  }
  shapes.emplace_back("fc.weight", std::vector<int64_t>{1008, kInceptionFeatures});
  shapes.emplace_back("fc.bias", std::vector<int64_t>{1008});
  return shapes;
}

}  // namespace cfm::models
