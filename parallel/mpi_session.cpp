#include "parallel/mpi_session.h"

#include <unistd.h>

#include <array>
#include <cstdlib>
#include <utility>

#include "parallel/failure_log.h"
#include "parallel/mpi_handle.h"

namespace cfm::parallel {
namespace {

std::optional<int> number_from_environment(const char* name) {
  const char* text = std::getenv(name);
  if (text == nullptr || *text == '\0') return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (*end != '\0') return std::nullopt;
  return static_cast<int>(value);
}

// How many processes the launcher says it started, and who says so.
struct LaunchedAs {
  int size;
  std::string source;
};

std::optional<LaunchedAs> launched_as() {
  // mpirun inside an allocation may use part of it, so its own count goes before Slurm's.
  for (const char* name : {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"}) {
    if (const auto size = number_from_environment(name)) return LaunchedAs{*size, name};
  }
  if (!number_from_environment("SLURM_PROCID")) return std::nullopt;
  for (const char* name : {"SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"}) {
    if (const auto size = number_from_environment(name)) return LaunchedAs{*size, name};
  }
  return std::nullopt;
}

std::string host_name() {
  std::array<char, 256> name{};
  return ::gethostname(name.data(), name.size() - 1) == 0 ? name.data() : "unknown";
}

std::unique_ptr<Communicator> duplicate_of(MPI_Comm comm) {
  auto handle = std::make_unique<MpiHandle>();
  mpi_check(MPI_Comm_dup(comm, &handle->comm), "MPI_Comm_dup");
  return std::make_unique<Communicator>(std::move(handle));
}

// What a user would otherwise have to hand to mpirun; what is set already stays.
void set_defaults_of_open_mpi() {
  // A program started alone needs no daemon of its own: we spawn no MPI processes.
  ::setenv("OMPI_MCA_ess_singleton_isolated", "1", 0);
  // No help text about transports that exist but are not used.
  ::setenv("OMPI_MCA_btl_base_warn_component_unused", "0", 0);
  // Where no message leaves the node there is no need to load and ask every network's library: a quarter of a start.
  const auto here = number_from_environment("OMPI_COMM_WORLD_LOCAL_SIZE");
  if (here && here == number_from_environment("OMPI_COMM_WORLD_SIZE")) ::setenv("OMPI_MCA_pml", "ob1", 0);
}

void refuse_broken_launch(int provided, int size) {
  if (provided < MPI_THREAD_MULTIPLE) {
    throw SharedError("MPI grants thread level " + std::to_string(provided) + ", cfm needs MPI_THREAD_MULTIPLE (" +
                      std::to_string(MPI_THREAD_MULTIPLE) + "): use an Open MPI that was built with threads");
  }
  const auto launched = launched_as();
  if (!launched || launched->size == size) return;
  throw SharedError("MPI has " + std::to_string(size) + (size == 1 ? " rank" : " ranks") + ", but " + launched->source +
                    "=" + std::to_string(launched->size) +
                    ": the processes did not find each other. Start them by `srun --mpi=pmix` (or pmi2) with an Open "
                    "MPI that supports it, or by the mpirun of the same MPI library");
}

}  // namespace

int launched_rank() {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "PMIX_RANK", "PMI_RANK", "SLURM_PROCID"}) {
    if (const auto rank = number_from_environment(name)) return *rank;
  }
  return 0;
}

std::string launcher_text() {
  const auto launched = launched_as();
  return launched ? launched->source + "=" + std::to_string(launched->size) : "";
}

MpiSession::MpiSession(int* argc, char*** argv) : host_(host_name()) {
  set_defaults_of_open_mpi();
  int provided = 0;
  mpi_check(MPI_Init_thread(argc, argv, MPI_THREAD_MULTIPLE, &provided), "MPI_Init_thread");
  MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);  // duplicates inherit it
  MPI_Comm_rank(MPI_COMM_WORLD, &rank_);
  MPI_Comm_size(MPI_COMM_WORLD, &size_);
  failures_ = std::make_unique<FailureLog>(rank_, host_);
  try {
    refuse_broken_launch(provided, size_);
  } catch (const SharedError&) {
    MPI_Finalize();
    throw;
  }
  MPI_Comm node = MPI_COMM_NULL;
  mpi_check(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, rank_, MPI_INFO_NULL, &node),
            "MPI_Comm_split_type");
  MPI_Comm_rank(node, &local_rank_);
  MPI_Comm_size(node, &local_size_);
  control_ = duplicate_of(MPI_COMM_WORLD);
  exit_ = duplicate_of(MPI_COMM_WORLD);
}

MpiSession::~MpiSession() { MPI_Finalize(); }

Communicator MpiSession::duplicate() const { return std::move(*duplicate_of(control_->handle().comm)); }

void MpiSession::abort(const std::string& message, ExitCode code) const {
  failures_->record("error", message, failures_->here(), code);
  end_all_ranks(rank_name(rank_, host_) + ": " + message, code);
}

}  // namespace cfm::parallel
