#include "checkpoint/replicated_save.h"

#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <map>
#include <span>
#include <sstream>
#include <system_error>
#include <utility>

#include "base/durable_file.h"
#include "base/hash.h"
#include "checkpoint/deal.h"

namespace cfm::checkpoint {
namespace {

namespace fs = std::filesystem;

constexpr size_t kWrite = 16 << 20;
static_assert(kWrite % kDirectBlock == 0);

// Work of some ranks: all return, or all throw. What fails now may not fail the next time, unless the run is lost.
template <typename Work>
void together(const SaveContext& context, const Work& work) {
  parallel::agree_on(context.session, context.over, [&] {
    try {
      work();
    } catch (const RunMustEnd&) {
      throw;
    } catch (const Error& e) {
      throw Error(e.what(), ExitCode::kRetry);
    }
  });
}

// "model=…", "exp_avg=…": the hash of each file.
std::vector<std::string> hashes_of(const std::vector<FileRecord>& records) {
  std::vector<std::string> hashes;
  for (const FileRecord& file : records) {
    std::string all = std::to_string(file.bytes);
    for (const std::string& block : file.block_hashes) all += " " + block;
    hashes.push_back(file.name + "=" + xxh3_128_hex(all.data(), all.size()));
  }
  return hashes;
}

std::string joined(const std::vector<std::string>& words, const char* between) {
  std::string all;
  for (const std::string& word : words) all += (all.empty() ? "" : between) + word;
  return all;
}

// Names of the files in which two lists of hashes differ.
std::string files_that_differ(const std::string& a, const std::string& b) {
  std::vector<std::string> names;
  std::istringstream in_a(a), in_b(b);
  for (std::string x, y; std::getline(in_a, x) && std::getline(in_b, y);)
    if (x != y) names.push_back(x.substr(0, x.find('=')));
  return joined(names, ", ");
}

// Throws RunMustEnd naming the ranks that hold another state than most do. Collective.
void check_replicated(const SaveContext& context, int64_t step) {
  const std::vector<std::string> states = context.over.all_gather(joined(hashes_of(context.snapshot.records()), "\n"));
  std::map<std::string, int> ranks_by_state;
  for (const std::string& state : states) ++ranks_by_state[state];
  if (ranks_by_state.size() == 1) return;
  const std::string most =
      *std::ranges::max_element(states, {}, [&](const std::string& state) { return ranks_by_state.at(state); });
  const std::vector<std::string> hosts = context.over.all_gather(context.session.host());
  std::vector<std::string> others;
  for (size_t r = 0; r < states.size(); ++r) {
    if (states[r] == most) continue;
    others.push_back("rank " + std::to_string(r) + " on host " + hosts[r] + " in " +
                     files_that_differ(most, states[r]));
  }
  const auto first = std::ranges::find(states, most) - states.begin();
  throw RunMustEnd("step " + std::to_string(step) + ": the ranks no longer hold the same state. From rank " +
                       std::to_string(first) + " (" + std::to_string(ranks_by_state.at(most)) + " of " +
                       std::to_string(states.size()) + " are as it is) differ " + joined(others, "; ") +
                       ". It is not saved; the same command continues from the checkpoint before. If it happens again, "
                       "leave out the node that is named.",
                   ExitCode::kRetry);
}

void begin(const SaveContext& context, const fs::path& committed) {
  check(!fs::exists(committed),
        "cannot save: " + committed.string() +
            " exists, and this run neither wrote nor loaded it: move it away, or use another --run_dir");
  fs::remove_all(context.unfinished);
  fs::create_directories(context.unfinished);
  fsync_directory(context.config.run_dir);
}

void write_file(const SaveContext& context, const FileRecord& record, const std::function<void()>& moved) {
  DurableFile file(context.unfinished / record.name, Through::kNothing);
  const std::span<const char> bytes = context.snapshot.bytes(record);
  for (size_t at = 0; at < bytes.size(); at += kWrite) {
    file.append(bytes.data() + at, std::min(kWrite, bytes.size() - at));
    moved();
  }
  file.close();
  moved();
}

void commit(const SaveContext& context, Manifest manifest, const fs::path& committed) {
  manifest.files = context.snapshot.records();
  for (const FileRecord& file : manifest.files) {
    std::error_code error;
    const fs::path path = context.unfinished / file.name;
    check(fs::file_size(path, error) == static_cast<uintmax_t>(file.bytes) && !error,
          "rank 0 does not see " + path.string() +
              " as it was written: --run_dir must be on a file system that all "
              "nodes share");
  }
  DurableFile file(context.unfinished / "manifest.json");
  const std::string json = to_json(manifest);
  file.append(json.data(), json.size());
  file.close();
  fsync_directory(context.unfinished);
  refuse_unless_held(context.config.ownership(), context.config.run_dir,
                     "step " + std::to_string(manifest.progress.step) + " is not saved");
  rename_durably(context.unfinished, committed);
}

}  // namespace

void save_replicated(const SaveContext& context, const std::vector<Part>& parts, Manifest manifest,
                     const SaveProgress& progress) {
  const at::NoGradGuard no_grad;
  const int rank = context.session.rank();
  const int64_t step = manifest.progress.step;
  const fs::path committed = checkpoints_folder(context.config.run_dir) / step_name(step);
  std::vector<int64_t> sizes;
  sizes.reserve(parts.size());
  for (const Part& part : parts) sizes.push_back(part.tensor_bytes());
  const std::vector<int> writers = deal_files(sizes, context.session.size());
  bool not_ours = false;  // rank 0's
  try {
    together(context, [&] {
      context.snapshot.take(parts, writers, rank, progress.moved);
      progress.copied();
      context.snapshot.hash(progress.moved);
      if (rank == 0) begin(context, committed);
    });
    check_replicated(context, step);
    together(context, [&] {
      for (size_t i = 0; i < parts.size(); ++i)
        if (writers[i] == rank) write_file(context, context.snapshot.records()[i], progress.moved);
    });
    together(context, [&] {
      if (rank != 0) return;
      try {
        commit(context, std::move(manifest), committed);
      } catch (const RunMustEnd&) {
        not_ours = true;
        throw;
      }
    });
  } catch (const SharedError& e) {
    std::error_code ignored;
    if (rank == 0) fs::remove_all(context.unfinished, ignored);
    // All meet here: none goes on before the folder is removed.
    if (context.over.any(not_ours)) throw RunMustEnd(e.what(), e.exit_code());
    throw;
  }
}

}  // namespace cfm::checkpoint
