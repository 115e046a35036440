#pragma once
// What a resume may change: each flag of cfm_train has one class, and this is the one place that says which.

#include <span>
#include <string>

namespace cfm::trainer {

enum class FlagClass {
  kFree,        // of how a run is carried out: changes nothing that is learnt but its last bits
  kContinuing,  // of what is learnt from here on: applied, said, and written as a config_change into events.jsonl
  kFixed,       // of what the run is: refused
};

struct FlagRule {
  const char* name;
  FlagClass flag_class;
  bool said = true;         // whether a resume says that it has changed; a free flag that decides no number is not
  const char* before = "";  // the value of checkpoints that are older than the flag; empty: not compared with those
};

std::span<const FlagRule> flag_rules();
// Of one flag; nullptr for a name that there is not.
const FlagRule* rule_of(const std::string& name);

const char* class_name(FlagClass flag_class);  // "free", "continuing", "fixed"

}  // namespace cfm::trainer
