#include "data/hdf5_process.h"

#include <hdf5.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <exception>
#include <fstream>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/descriptor.h"

// Three processes: this one; a keeper, forked at the start, which opens nothing; and for each request a worker,
// forked by the keeper, which does. A worker that crashes costs its request only.
//
//   this process --request--> keeper --fork--> worker --answer--> this process
//                <--how the worker ended-- keeper

namespace cfm::data {
namespace {

enum class Want : char { kFacts = 'f', kOnePass = 'p' };
enum class Part : char { kValue = 'v', kError = 'e', kRetryableError = 'r' };

// A pair of sockets: to write where nobody reads any more is an error, not a SIGPIPE that ends the process.
struct Pipe {
  Descriptor read_end, write_end;
  Pipe() {
    std::array<int, 2> ends{};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0)
      throw Error(std::string("cannot make a pipe to a child process: ") + std::strerror(errno), ExitCode::kRetry);
    read_end = Descriptor(ends[0]);
    write_end = Descriptor(ends[1]);
  }
};

// False at the end of the pipe.
bool read_exactly(int descriptor, void* bytes, size_t size) {
  char* at = static_cast<char*>(bytes);
  while (size > 0) {
    const ssize_t got = ::read(descriptor, at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

bool write_exactly(int descriptor, const void* bytes, size_t size) {
  const char* at = static_cast<const char*>(bytes);
  while (size > 0) {
    const ssize_t done = ::send(descriptor, at, size, MSG_NOSIGNAL);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    at += done;
    size -= static_cast<size_t>(done);
  }
  return true;
}

bool write_text(int descriptor, char kind, const void* bytes, uint64_t size) {
  return write_exactly(descriptor, &kind, 1) && write_exactly(descriptor, &size, sizeof size) &&
         write_exactly(descriptor, bytes, size);
}

// Lets this process take `more` bytes than it has: damage can make libhdf5 ask for anything. (Sanitizers reserve
// terabytes, so there is no limit under them.)
void limit_memory([[maybe_unused]] uint64_t more) {
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
  std::ifstream status("/proc/self/status");
  uint64_t kilobytes = 0;
  for (std::string name; status >> name;)
    if (name == "VmData:" && status >> kilobytes) break;
  const rlimit memory{1024 * kilobytes + more, RLIM_INFINITY};
  ::setrlimit(RLIMIT_DATA, &memory);
#endif
}

// Does one request.
[[noreturn]] void work(Want want, const std::string& path, int answer, unsigned open_seconds) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  const rlimit no_core{0, 0};
  ::setrlimit(RLIMIT_CORE, &no_core);
  // Facts are small beside the file; one pass keeps a row of chunks.
  std::error_code unknown;
  const uint64_t file_bytes = std::min(std::filesystem::file_size(path, unknown), uint64_t{1} << 32);
  limit_memory(want == Want::kFacts ? (uint64_t{128} << 20) + 4 * file_bytes : uint64_t{16} << 30);
  for (const int signal : {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL}) std::signal(signal, SIG_DFL);
  bool heard = true;
  const auto say = [&](Part part, const void* bytes, size_t size) {
    heard = heard && write_text(answer, static_cast<char>(part), bytes, size);
  };
  try {
    ::alarm(open_seconds);
    const FileFacts facts = read_facts(path);
    ::alarm(0);
    if (want == Want::kFacts) {
      const std::string bytes = to_bytes(facts);
      say(Part::kValue, bytes.data(), bytes.size());
    } else {
      ::alarm(open_seconds);  // for each piece
      cfm::data::read_in_one_pass(path, facts, [&](std::span<const uint8_t> pixels) {
        ::alarm(0);  // the reader takes its time
        say(Part::kValue, pixels.data(), pixels.size());
        if (!heard) ::_exit(0);  // nobody reads any more
        ::alarm(open_seconds);
      });
    }
  } catch (const Error& error) {
    const std::string text = error.what();
    say(error.exit_code() == ExitCode::kRetry ? Part::kRetryableError : Part::kError, text.data(), text.size());
  } catch (const std::exception& error) {
    const std::string text = path + " cannot be opened: " + error.what() + ". Copy or pack the file again.";
    say(Part::kError, text.data(), text.size());
  }
  ::_exit(0);
}

// Forks a worker for each request until nobody asks any more.
[[noreturn]] void keep(int requests, int answers, int ends, unsigned open_seconds) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  // Signals to the job's process group are for the others: this one ends with its parent.
  for (const int signal : {SIGINT, SIGTERM, SIGUSR1, SIGUSR2, SIGHUP, SIGPIPE}) std::signal(signal, SIG_IGN);
  while (true) {
    char want = 0;
    uint64_t size = 0;
    if (!read_exactly(requests, &want, 1) || !read_exactly(requests, &size, sizeof size)) ::_exit(0);
    std::string path(size, '\0');
    if (!read_exactly(requests, path.data(), size)) ::_exit(0);
    ::H5open();  // once, so that no worker starts the library again; it meets no file here
    const pid_t worker = ::fork();
    if (worker == 0) work(static_cast<Want>(want), path, answers, open_seconds);
    int status = -1;
    while (worker > 0 && ::waitpid(worker, &status, 0) < 0 && errno == EINTR) {
    }
    if (!write_exactly(ends, &status, sizeof status)) ::_exit(0);
  }
}

std::string how_it_ended(int status, unsigned open_seconds) {
  if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
    return "libhdf5 did not read it within " + std::to_string(open_seconds) + " s";
  if (WIFSIGNALED(status)) return std::string("libhdf5 crashed on it (") + ::strsignal(WTERMSIG(status)) + ")";
  return "libhdf5 gave up on it (exit code " + std::to_string(WEXITSTATUS(status)) + ")";
}

}  // namespace

struct Hdf5Process::Impl {
  Pipe requests, answers, ends;
  pid_t keeper = -1;
  unsigned open_seconds = 0;

  // Hands each part of the answer to `take`. Throws the worker's Error, or one that says how the worker died.
  void ask(Want want, const std::filesystem::path& path, const std::function<void(const std::string&)>& take);
  bool read_answer(void* bytes, size_t size);
};

// False if the worker has ended before it said that much, wherever that was.
bool Hdf5Process::Impl::read_answer(void* bytes, size_t size) {
  char* at = static_cast<char*>(bytes);
  while (size > 0) {
    std::array<pollfd, 2> ready{{{answers.read_end.number(), POLLIN, 0}, {ends.read_end.number(), POLLIN, 0}}};
    if (::poll(ready.data(), ready.size(), -1) < 0) continue;
    // What a worker wrote before its end is read first: also what it wrote while the two were looked at.
    if ((ready[0].revents & POLLIN) == 0 && ::poll(ready.data(), 1, 0) != 1) return false;
    const ssize_t got = ::read(answers.read_end.number(), at, size);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    at += got;
    size -= static_cast<size_t>(got);
  }
  return true;
}

void Hdf5Process::Impl::ask(Want want, const std::filesystem::path& path,
                            const std::function<void(const std::string&)>& take) {
  const std::string name = std::filesystem::absolute(path).string();
  const std::string lost = path.string() +
                           " cannot be opened: the child process that libhdf5 runs in is gone (was it killed, by hand "
                           "or for want of memory?): start again";
  if (!write_text(requests.write_end.number(), static_cast<char>(want), name.data(), name.size()))
    throw Error(lost, ExitCode::kRetry);
  std::string error, bytes;
  std::exception_ptr callers;  // what `take` threw: the rest of the answer goes by first
  bool retry = false;
  char kind = 0;
  uint64_t size = 0;
  while (read_answer(&kind, 1) && read_answer(&size, sizeof size)) {
    bytes.resize(size);
    if (!read_answer(bytes.data(), size)) break;
    if (static_cast<Part>(kind) == Part::kValue) {
      if (callers) continue;
      try {
        take(bytes);
      } catch (...) {
        callers = std::current_exception();
      }
    } else {
      error = bytes;
      retry = static_cast<Part>(kind) == Part::kRetryableError;
    }
  }
  int status = -1;
  if (!read_exactly(ends.read_end.number(), &status, sizeof status)) throw Error(lost, ExitCode::kRetry);
  if (callers) std::rethrow_exception(callers);
  // The worker knows the file by its absolute name; people by the one they gave.
  if (const size_t at = error.find(name); at != std::string::npos) error.replace(at, name.size(), path.string());
  if (!error.empty()) throw Error(error, retry ? ExitCode::kRetry : ExitCode::kWontWork);
  check(WIFEXITED(status) && WEXITSTATUS(status) == 0,
        path.string() + " is damaged: " + how_it_ended(status, open_seconds) + ". Copy or pack the file again.");
}

Hdf5Process::Hdf5Process(unsigned open_seconds) : impl_(std::make_unique<Impl>()) {
  impl_->open_seconds = open_seconds;
  impl_->keeper = ::fork();
  if (impl_->keeper < 0)
    throw Error(std::string("cannot fork a process for libhdf5: ") + std::strerror(errno), ExitCode::kRetry);
  if (impl_->keeper == 0) {
    // Only our own ends stay open: the keeper ends when the parent's do.
    const int requests = impl_->requests.read_end.number(), answers = impl_->answers.write_end.number(),
              ends = impl_->ends.write_end.number();
    for (const Descriptor* theirs : {&impl_->requests.write_end, &impl_->answers.read_end, &impl_->ends.read_end})
      ::close(theirs->number());
    keep(requests, answers, ends, open_seconds);
  }
  // And here only ours, so that a keeper that dies is noticed.
  impl_->requests.read_end = Descriptor();
  impl_->answers.write_end = Descriptor();
  impl_->ends.write_end = Descriptor();
}

Hdf5Process::~Hdf5Process() {
  impl_->requests.write_end = Descriptor();  // the keeper reads the end, and goes
  int status = 0;
  while (::waitpid(impl_->keeper, &status, 0) < 0 && errno == EINTR) {
  }
}

FileFacts Hdf5Process::facts(const std::filesystem::path& path) {
  std::string bytes;
  impl_->ask(Want::kFacts, path, [&](const std::string& part) { bytes = part; });
  check(!bytes.empty(), path.string() + " cannot be opened: libhdf5's process gave no answer.");
  return facts_from_bytes(bytes);
}

void Hdf5Process::read_in_one_pass(const std::filesystem::path& path,
                                   const std::function<void(std::span<const uint8_t>)>& take) {
  impl_->ask(Want::kOnePass, path, [&](const std::string& part) {
    take({reinterpret_cast<const uint8_t*>(part.data()), part.size()});
  });
}

FileFacts facts_of(const std::filesystem::path& path, Hdf5Process* hdf5) {
  return hdf5 != nullptr ? hdf5->facts(path) : read_facts(path);
}

}  // namespace cfm::data
