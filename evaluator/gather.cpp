#include "evaluator/gather.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstring>
#include <vector>

namespace cfm::evaluator {

at::Tensor gather_rows(const at::Tensor& mine, const parallel::MpiSession& session) {
  std::string bytes;  // the width, then the rows
  if (mine.defined() && mine.size(0) > 0) {
    const at::Tensor dense = mine.contiguous();
    const int64_t width = dense.size(1);
    bytes.append(reinterpret_cast<const char*>(&width), sizeof width);
    bytes.append(reinterpret_cast<const char*>(dense.const_data_ptr<float>()), dense.nbytes());
  }
  std::vector<at::Tensor> rows;
  for (const std::string& share : session.control().gather(bytes)) {
    if (share.empty()) continue;
    int64_t width = 0;
    std::memcpy(&width, share.data(), sizeof width);
    const auto values = static_cast<int64_t>((share.size() - sizeof width) / sizeof(float));
    rows.push_back(at::empty({values / width, width}, at::kFloat));
    std::memcpy(rows.back().mutable_data_ptr<float>(), share.data() + sizeof width, share.size() - sizeof width);
  }
  return rows.empty() ? at::Tensor() : at::cat(rows);
}

at::Tensor gather_images(const at::Tensor& mine, const parallel::MpiSession& session) {
  const at::Tensor dense = mine.contiguous();
  const auto* const bytes = reinterpret_cast<const char*>(dense.const_data_ptr<uint8_t>());
  const std::vector<std::string> shares = session.control().gather(std::string(bytes, dense.nbytes()));
  if (session.rank() != 0) return {};
  size_t total = 0;
  for (const std::string& share : shares) total += share.size();
  const int64_t image = mine.size(1) * mine.size(2) * mine.size(3);
  at::Tensor all =
      at::empty({static_cast<int64_t>(total) / image, mine.size(1), mine.size(2), mine.size(3)}, at::kByte);
  char* at = reinterpret_cast<char*>(all.mutable_data_ptr<uint8_t>());
  for (const std::string& share : shares) at = std::copy(share.begin(), share.end(), at);
  return all;
}

}  // namespace cfm::evaluator
