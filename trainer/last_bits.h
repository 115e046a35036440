#pragma once
// What decides the last bits of a run beside its flags: recorded in every checkpoint, compared between ranks and on
// resume.

#include <c10/core/Device.h>

#include <string>
#include <vector>

#include "checkpoint/safetensors.h"
#include "parallel/mpi_session.h"

namespace cfm::trainer {

// Of this rank: threads, instruction sets (ATen's, our own loops', the processor's), libraries, and the environment
// variables that change what oneDNN and MKL choose.
checkpoint::Metadata arithmetic_of_rank(int threads);

// The same of every rank, by rank. Collective.
std::vector<checkpoint::Metadata> arithmetic_of_ranks(const parallel::MpiSession& session, int threads);

// arithmetic_of_rank of rank 0, and how the ranks are laid out. Collective; rank 0 says it if another rank's
// arithmetic differs.
checkpoint::Metadata last_bits(const parallel::MpiSession& session, c10::Device device, int threads);

// For each thing of which ranks have different values, a line that names the first rank that differs from rank 0 and
// both values.
std::vector<std::string> differences_between_ranks(const std::vector<checkpoint::Metadata>& by_rank);

}  // namespace cfm::trainer
