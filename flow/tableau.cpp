#include "flow/tableau.h"

#include "base/error.h"

namespace cfm::flow {
namespace {

constexpr std::array<const Tableau*, 6> kAll{&kEuler, &kMidpoint, &kHeun2, &kRk4, &kRk438, &kDp5};

}  // namespace

std::vector<std::string> solver_names() {
  std::vector<std::string> names;
  names.reserve(kAll.size());
  for (const Tableau* tableau : kAll) names.emplace_back(tableau->name);
  return names;
}

const Tableau& tableau_named(std::string_view name) {
  std::string names;
  for (const Tableau* tableau : kAll) {
    if (tableau->name == name) return *tableau;
    names += (names.empty() ? "" : ", ") + std::string(tableau->name);
  }
  throw Error("--solver=" + std::string(name) + ": there is no such solver. Choose one of " + names + ".");
}

}  // namespace cfm::flow
