#include "trainer/last_bits.h"

#include <ATen/Version.h>
#include <torch/headeronly/version.h>

#include <array>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include "base/log.h"
#include "models/kernels.h"

namespace cfm::trainer {
namespace {

using checkpoint::Metadata;

constexpr std::array kDecidingVariables{"ONEDNN_MAX_CPU_ISA",         "DNNL_MAX_CPU_ISA",
                                        "ONEDNN_CPU_ISA_HINTS",       "DNNL_CPU_ISA_HINTS",
                                        "ONEDNN_DEFAULT_FPMATH_MODE", "DNNL_DEFAULT_FPMATH_MODE",
                                        "MKL_ENABLE_INSTRUCTIONS",    "MKL_CBWR",
                                        "MKL_DEBUG_CPU_TYPE",         "MKL_DYNAMIC"};

// "ONEDNN_MAX_CPU_ISA=AVX2 MKL_CBWR=COMPATIBLE"; "default" if none is set.
std::string environment() {
  std::string text;
  for (const char* name : kDecidingVariables) {
    const char* const value = std::getenv(name);
    if (value != nullptr) text += (text.empty() ? "" : " ") + std::string(name) + "=" + value;
  }
  return text.empty() ? "default" : text;
}

// Instruction sets for arithmetic: x86's and ARM's names in /proc/cpuinfo.
bool is_arithmetic(const std::string& flag) {
  for (const char* prefix : {"avx", "amx", "fma", "f16c", "sve", "asimd", "bf16", "i8mm", "fphp"}) {
    if (flag.starts_with(prefix)) return true;
  }
  return false;
}

// "AMD EPYC 7763: fma f16c avx avx2": libraries choose their loops by the flags, and their block sizes by the model.
std::string processor() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string model, flags;
  for (std::string line; std::getline(cpuinfo, line) && !line.empty();) {  // the first processor's
    const size_t colon = line.find(": ");
    if (colon == std::string::npos) continue;
    if (line.starts_with("model name")) model = line.substr(colon + 2);
    if (!line.starts_with("flags") && !line.starts_with("Features")) continue;
    std::istringstream words(line.substr(colon + 2));
    for (std::string flag; words >> flag;) flags += is_arithmetic(flag) ? " " + flag : "";
  }
  return model + ":" + flags;
}

std::string first_line(const std::string& text) { return text.substr(0, text.find('\n')); }

// A line a value, and back.
std::string packed(const Metadata& metadata) {
  std::string text;
  for (const auto& [name, value] : metadata) text += name + "\n" + value + "\n";
  return text;
}
Metadata unpacked(const std::string& text) {
  Metadata metadata;
  std::istringstream lines(text);
  for (std::string name, value; std::getline(lines, name) && std::getline(lines, value);) metadata[name] = value;
  return metadata;
}

}  // namespace

Metadata arithmetic_of_rank(int threads) {
  return {{"threads", std::to_string(threads)},
          {"cpu_capability", at::get_cpu_capability()},
          {"kernels", models::kernels().instruction_set},
          {"processor", processor()},
          {"environment", environment()},
          {"libtorch", TORCH_VERSION},
          {"mkl", first_line(at::get_mkl_version())},
          {"onednn", first_line(at::get_mkldnn_version())}};
}

std::vector<Metadata> arithmetic_of_ranks(const parallel::MpiSession& session, int threads) {
  std::vector<Metadata> by_rank;
  for (const std::string& text : session.control().all_gather(packed(arithmetic_of_rank(threads)))) {
    by_rank.push_back(unpacked(text));
  }
  return by_rank;
}

Metadata last_bits(const parallel::MpiSession& session, c10::Device device, int threads) {
  const std::vector<Metadata> by_rank = arithmetic_of_ranks(session, threads);
  if (session.rank() == 0) {
    for (const std::string& difference : differences_between_ranks(by_rank)) say("ranks      differ: " + difference);
  }
  Metadata bits = by_rank[0];
  bits["ranks"] = std::to_string(session.size());
  bits["ranks_per_node"] = session.control().broadcast(std::to_string(session.local_size()));
  bits["device"] = device.is_cuda() ? "cuda" : "cpu";
  return bits;
}

std::vector<std::string> differences_between_ranks(const std::vector<Metadata>& by_rank) {
  std::vector<std::string> differences;
  for (const auto& [name, of_rank_0] : by_rank.at(0)) {
    for (size_t r = 1; r < by_rank.size(); ++r) {
      const std::string& found = by_rank[r].at(name);
      if (found == of_rank_0) continue;
      differences.push_back(name + " is " + found + " on rank " + std::to_string(r) + ", " + of_rank_0 +
                            " on rank 0: weights may differ in their last bits from rank to rank");
      break;
    }
  }
  return differences;
}

}  // namespace cfm::trainer
