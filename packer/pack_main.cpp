// cfm_pack: images to HDF5 shards; cfm_pack --inspect FILE...: what files are.

#include <malloc.h>

#include <chrono>
#include <cstdio>

#include "base/log.h"
#include "packer/flags.h"
#include "packer/inspect.h"
#include "packer/pack.h"
#include "packer/progress.h"

namespace {

using cfm::packer::grouped;

void say_report(const cfm::packer::PackReport& report, double seconds) {
  const cfm::data::ImageShape shape = report.image_shape;
  char cost[64];
  std::snprintf(cost, sizeof cost, "%.1f MB in %.1f s", static_cast<double>(report.bytes) / 1e6, seconds);
  cfm::say("packed       " + grouped(report.images) + " images of " + std::to_string(shape.channels) + "x" +
           std::to_string(shape.height) + "x" + std::to_string(shape.width) + ", " + grouped(report.classes) +
           (report.classes == 1 ? " class" : " classes"));
  cfm::say("written      " + report.folder.string() + ": " + grouped(report.shards) +
           (report.shards == 1 ? " shard, " : " shards, ") + cost);
  if (!report.unreadable.empty())
    cfm::warn(grouped(static_cast<int64_t>(report.unreadable.size())) +
              " unreadable images were left out (named above)");
  cfm::say("fingerprint  " + report.fingerprint);
}

// All files are looked at, whatever is wrong with one.
int inspect_all(const std::vector<std::string>& files) {
  cfm::check(!files.empty(), "--inspect: no files given. Usage: cfm_pack --inspect FILE...");
  int exit_code = 0;
  for (const std::string& file : files) try {
      std::string text = cfm::packer::inspect(file);
      text.pop_back();
      cfm::say(text);
    } catch (const cfm::Error& error) {
      std::fprintf(stderr, "cfm_pack: %s\n", error.what());
      exit_code = static_cast<int>(error.exit_code());
    }
  return exit_code;
}

int run(const std::vector<std::string>& arguments) {
  if (!arguments.empty() && arguments[0] == "--inspect") return inspect_all({arguments.begin() + 1, arguments.end()});
  const cfm::ProgramHelp help = cfm::packer::program_help();
  if (cfm::parse_command_line(help, arguments)) {
    std::fputs(cfm::help_text(help).c_str(), stdout);
    return 0;
  }
  const auto start = std::chrono::steady_clock::now();
  const cfm::packer::PackReport report = cfm::packer::pack(cfm::packer::config_from_flags());
  say_report(report, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  // Decoding asks for the same few hundred kilobytes for every image. Handed back to the system each time, they would
  // have to be mapped and cleared anew: a fifth of an image's time.
  ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
  try {
    return run({argv + 1, argv + argc});
  } catch (const cfm::Error& error) {
    std::fprintf(stderr, "cfm_pack: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::fprintf(stderr, "cfm_pack: %s\n", error.what());
    return static_cast<int>(cfm::ExitCode::kRetry);
  }
}
