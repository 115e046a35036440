#pragma once
// The number that cfm_eval_nll is for, and the files that it stands in.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "evaluator/nll_records.h"

namespace cfm::evaluator {

// One image of the result.
struct ImageNll {
  int64_t image = 0;
  double bits = 0;        // bits/dim over all its draws
  double bits_first = 0;  // of draw 0 alone
  int64_t nfe = 0;        // of all its draws together
};

// A mean over images and its standard error, sqrt(variance / images) with n - 1; not a number for one image.
struct MeanNll {
  double bits = 0, standard_error = 0;
};

struct NllSummary {
  int64_t images = 0;
  MeanNll all_draws, first_draw;
  int64_t nfe_min = 0, nfe_max = 0;  // of a draw
  double nfe_mean = 0;
};

// The images all of whose `repeats` draws are there, ascending.
std::vector<ImageNll> images_of(const DrawRecords& records, int64_t repeats, int64_t dimensions);
NllSummary summary_of(const std::vector<ImageNll>& images, const DrawRecords& records);

// A line of names, then one an image: image,label,nfe,bits_per_dim,bits_per_dim_first_draw.
std::string csv_of(const std::vector<ImageNll>& images, const std::vector<int64_t>& labels);

// The numbers of the result file.
nlohmann::ordered_json json_of(const NllSummary& summary, int64_t repeats);

}  // namespace cfm::evaluator
