#pragma once
// What `cfm_train --check` prints: a line a finding, as it is found.
//   ok    data        runs/data/train: 1297 images, ...
//   warn  cores       4 threads a rank on 1 core each: ...
//   FAIL  run_dir     --run_dir=... is a file; ...

#include <functional>
#include <string>
#include <vector>

#include "parallel/mpi_session.h"

namespace cfm::trainer {

class CheckTable {
 public:
  explicit CheckTable(const parallel::MpiSession& session) : session_(session) {}
  void ok(const std::string& what, const std::string& text);
  void warn(const std::string& what, const std::string& text);
  // Each line of `text` is a line here.
  void fail(const std::string& what, const std::string& text);
  // warn() unless it holds, else ok().
  void ok_if(bool holds, const std::string& what, const std::string& text);

  // work() on every rank; an Error of any of them is a FAIL of all, and false. That a signal came is no finding:
  // SharedError(kRequeue). Collective.
  bool attempt(const std::string& what, const std::function<void()>& work);

  // The names of what failed, each once.
  const std::vector<std::string>& failed() const { return failed_; }
  int warnings() const { return warnings_; }

 private:
  void line(const char* mark, const std::string& what, const std::string& text) const;
  const parallel::MpiSession& session_;
  std::vector<std::string> failed_;
  int warnings_ = 0;
};

}  // namespace cfm::trainer
