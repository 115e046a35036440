// cfm_pack: images to HDF5 shards; cfm_pack --inspect FILE...: what files are, without MPI.

#include <malloc.h>

#include <chrono>
#include <cstdio>

#include "base/grouped_number.h"
#include "base/log.h"
#include "packer/flags.h"
#include "packer/inspect.h"
#include "packer/pack.h"
#include "packer/progress.h"
#include "parallel/mpi_session.h"

namespace {

using cfm::grouped;

void say_report(const cfm::packer::PackReport& report, double seconds) {
  const cfm::data::ImageShape shape = report.image_shape;
  char cost[64];
  std::snprintf(cost, sizeof cost, "%.1f MB in %.1f s", static_cast<double>(report.bytes) / 1e6, seconds);
  cfm::say("packed       " + grouped(report.images) + " images of " + std::to_string(shape.channels) + "x" +
           std::to_string(shape.height) + "x" + std::to_string(shape.width) + ", " + grouped(report.classes) +
           (report.classes == 1 ? " class" : " classes"));
  cfm::say("written      " + report.folder.string() + ": " + grouped(report.shards) +
           (report.shards == 1 ? " shard, " : " shards, ") + cost);
  if (!report.unreadable.empty()) {
    std::string names = grouped(static_cast<int64_t>(report.unreadable.size())) +
                        (report.unreadable.size() == 1 ? " unreadable image was" : " unreadable images were") +
                        " left out:";
    for (const std::string& name : report.unreadable) names += "\n  " + name;
    cfm::warn(names);
  }
  cfm::say("fingerprint  " + report.fingerprint.files + " of the files");
  cfm::say("             " + report.fingerprint.images + " of the images, whatever the seed and number of shards");
}

void say_error(const std::string& message) { std::fputs(("cfm: error: " + message + "\n").c_str(), stderr); }

// All files are looked at, whatever is wrong with one.
int inspect_all(const std::vector<std::string>& files) {
  cfm::check(!files.empty(), "--inspect: no files given. Usage: cfm_pack --inspect FILE...");
  cfm::data::Hdf5Process hdf5;
  int exit_code = 0;
  for (const std::string& file : files) try {
      std::string text = cfm::packer::inspect(file, hdf5);
      text.pop_back();
      cfm::say(text);
    } catch (const cfm::Error& error) {
      say_error(error.what());
      exit_code = static_cast<int>(error.exit_code());
    } catch (const std::exception& error) {
      say_error(file + ": " + error.what());
      exit_code = static_cast<int>(cfm::ExitCode::kRetry);
    }
  return exit_code;
}

cfm::ExitCode run(const cfm::parallel::MpiSession& session, cfm::data::Hdf5Process& hdf5) {
  const auto start = std::chrono::steady_clock::now();
  const cfm::packer::PackReport report = cfm::packer::pack(cfm::packer::config_from_flags(), session, &hdf5);
  if (session.rank() == 0)
    say_report(report, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return cfm::ExitCode::kDone;
}

// Under a launcher its first process alone looks at the files.
int inspect(const std::vector<std::string>& files) {
  try {
    return cfm::parallel::launched_rank() == 0 ? inspect_all(files) : 0;
  } catch (const cfm::Error& error) {
    say_error(error.what());
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    say_error(error.what());
    return static_cast<int>(cfm::ExitCode::kRetry);
  }
}

}  // namespace

int main(int argc, char** argv) {
  // Decoding asks for the same few hundred kilobytes for every image. Handed back to the system each time, they would
  // have to be mapped and cleared anew: a fifth of an image's time.
  ::mallopt(M_MMAP_THRESHOLD, 64 << 20);
  ::mallopt(M_TRIM_THRESHOLD, 256 << 20);
  const std::vector<std::string> arguments(argv + 1, argv + argc);
  if (!arguments.empty() && arguments[0] == "--inspect") return inspect({arguments.begin() + 1, arguments.end()});
  cfm::data::Hdf5Process hdf5;  // forks, so before MPI
  return cfm::parallel::run_program(argc, argv, cfm::packer::program_help(),
                                    [&](cfm::parallel::MpiSession& session) { return run(session, hdf5); });
}
