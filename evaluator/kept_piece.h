#pragma once
#include <filesystem>
#include <functional>
#include <optional>
#include <string>

#include "evaluator/result_file.h"
#include "parallel/mpi_session.h"

namespace cfm::evaluator {

// A part of a result that takes long (a repeat, a point of a sweep): read if an earlier start has kept it as
// FOLDER/<name>.json; otherwise made and kept, and the samples FOLDER/<name>-*.safetensors that it was made of removed.
// `make` is called on all ranks and gives the part at rank 0, anything elsewhere, nothing on all of them if it was
// stopped. Collective.
std::optional<Json> kept_or_made(const std::filesystem::path& folder, const std::string& name,
                                 const parallel::MpiSession& session, const std::function<std::optional<Json>()>& make);

}  // namespace cfm::evaluator
