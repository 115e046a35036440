#pragma once
namespace cfm {

// The commit that this program was built from, "-dirty" behind it if the files differed from it, "unknown" outside a
// git clone. cmake/source_revision.cmake writes the definition at build time.
const char* source_revision();

}  // namespace cfm
