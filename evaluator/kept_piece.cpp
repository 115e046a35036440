#include "evaluator/kept_piece.h"

#include <vector>

#include "base/durable_file.h"
#include "base/log.h"

namespace cfm::evaluator {
namespace {

namespace fs = std::filesystem;

void remove_samples(const fs::path& folder, const std::string& name) {
  std::vector<fs::path> files;
  for (const fs::directory_entry& entry : fs::directory_iterator(folder)) {
    const std::string file = entry.path().filename().string();
    if (file.starts_with(name + "-") && file.ends_with(".safetensors")) files.push_back(entry.path());
  }
  std::error_code error;  // they are removed with the folder at the latest
  for (const fs::path& file : files) fs::remove(file, error);
}

}  // namespace

std::optional<Json> kept_or_made(const fs::path& folder, const std::string& name, const parallel::MpiSession& session,
                                 const std::function<std::optional<Json>()>& make) {
  const bool leads = session.rank() == 0;
  const fs::path file = folder / (name + ".json");
  std::optional<Json> piece = Json::object();
  bool is_kept = false;
  parallel::agree_on(session, [&] {
    if (!leads || !fs::exists(file)) return;
    piece = read_json(file);
    is_kept = true;
    say("resumed      " + name + " is kept");
  });
  if (session.control().any(is_kept)) return piece;
  piece = make();
  if (!piece) return std::nullopt;
  parallel::agree_on(session, [&] {
    if (!leads) return;
    write_durably(file, piece->dump(1) + "\n");
    remove_samples(folder, name);
  });
  return piece;
}

}  // namespace cfm::evaluator
