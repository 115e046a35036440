#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "checkpoint/manifest.h"
#include "checkpoint/weights.h"
#include "keeper/run_contents.h"

namespace cfm::keeper {

struct ExportedWeights {
  checkpoint::FileRecord record;
  checkpoint::WeightsInfo info;
};

struct CardContents {
  std::string name;  // of the run
  checkpoint::Manifest manifest;
  std::vector<ExportedWeights> weights;  // raw first, the longest average last
  int64_t parameters = 0;
  std::vector<ResultFacts> results;
};

// Markdown: what the network is, its files, how it was trained, and each number that was measured with the command
// behind it.
std::string model_card(const CardContents& contents);

}  // namespace cfm::keeper
