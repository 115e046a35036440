#pragma once
// A line of progress that is rewritten in place where a person watches, and left to plain lines elsewhere.

#include <string>

namespace cfm {

// Whether standard output is a terminal that a person watches. Open MPI gives its ranks a terminal of its own, wherever
// its output goes: there it is the launcher's standard output that counts.
bool person_watches();

class LiveLine {
 public:
  LiveLine() : live_(person_watches()) {}
  ~LiveLine() { end(); }
  LiveLine(const LiveLine&) = delete;
  LiveLine& operator=(const LiveLine&) = delete;

  // False: show() does nothing; say() a plain line now and then instead.
  bool live() const { return live_; }
  // Puts `text` in place of the line, cut to the terminal's width (a line that wraps could not be rewritten).
  void show(std::string text);
  // Ends the line, so that other output starts on a line of its own.
  void end();

 private:
  bool live_, shown_ = false;
};

}  // namespace cfm
