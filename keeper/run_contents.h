#pragma once
// What a run's folder holds, looked at without changing anything. Nothing is hashed.

#include <cstdint>
#include <ctime>
#include <filesystem>
#include <string>
#include <vector>

namespace cfm::keeper {

struct CheckpointFacts {
  int64_t step = 0;
  int64_t images_seen = 0;
  std::time_t committed = 0;              // when its manifest was written
  int64_t bytes = 0;                      // of all its files
  std::vector<std::string> weights = {};  // "raw", "ema_0.9", "ema_0.9999"
  std::string problem = {};               // that can be seen without hashing; empty: none
};

// A folder in RUN/checkpoints that is no checkpoint, or one no more.
struct OtherFolder {
  std::string name;
  std::string what;  // "damaged, set aside", "unfinished", ...
  int64_t bytes = 0;
  std::time_t changed = 0;  // when anything in it has changed last
};

struct ResultFacts {
  std::filesystem::path file;
  std::string metric, tag;
  int64_t step = 0;
  std::string value;  // "3.1201 +- 0.0102 bits/dim, 1,000 images"
};

// A result that is being made, or was begun.
struct ClaimFacts {
  std::string name;  // of the result
  int64_t step = 0;
  std::string holder;  // "host n1, process 4711"
  bool has_ended = false;
};

struct RunContents {
  std::vector<CheckpointFacts> checkpoints;  // by step
  std::vector<OtherFolder> others;           // by name
  std::vector<ResultFacts> results;          // by step, then by name
  std::vector<ClaimFacts> claims;            // by step, then by name
  std::string trainer;                       // who trains here now; empty: nobody
};

// Error(kWontWork) if there is no such folder.
RunContents contents_of(const std::filesystem::path& run_dir);

// The results of a run. What is no result is left out; one that cannot be read has that as its value.
std::vector<ResultFacts> results_in(const std::filesystem::path& run_dir);

}  // namespace cfm::keeper
