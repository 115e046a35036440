#pragma once
#include <string>

#include "checkpoint/manifest.h"

namespace cfm::keeper {

// A flagfile that has cfm_train do again what a checkpoint's manifest says: every flag but --run_dir. A value that no
// flagfile can hold (it has " #" or a line break in it, or a blank at an end) stands in a comment.
std::string train_flags_text(const checkpoint::Manifest& manifest, const std::string& of);

}  // namespace cfm::keeper
