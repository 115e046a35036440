#pragma once
// Owners of libhdf5's ids, and its own words on a failure. Private to data/.

#include <hdf5.h>

#include <string>
#include <utility>

namespace cfm::data {

class Hdf5Id {
 public:
  using Close = herr_t (*)(hid_t);
  Hdf5Id(hid_t id, Close close) : id_(id), close_(close) {}
  Hdf5Id(Hdf5Id&& other) noexcept : id_(std::exchange(other.id_, H5I_INVALID_HID)), close_(other.close_) {}
  Hdf5Id(const Hdf5Id&) = delete;
  Hdf5Id& operator=(const Hdf5Id&) = delete;
  ~Hdf5Id() { close(); }
  bool ok() const { return id_ >= 0; }
  hid_t get() const { return id_; }
  // Closes now and says whether that went well, which is where libhdf5 reports late write errors.
  bool close() {
    const hid_t id = std::exchange(id_, H5I_INVALID_HID);
    return id < 0 || close_(id) >= 0;
  }

 private:
  hid_t id_;
  Close close_;
};

// While it lives libhdf5 prints no error stacks: what matters of them is in our own messages. From the first one on the
// library does nothing at exit either: we close what we open, and it crashes there on a file that a full disk kept
// open.
class SilentHdf5 {
 public:
  SilentHdf5() {
    H5dont_atexit();  // counts before the library's first use; later it says that it did not, and does nothing
    H5Eget_auto2(H5E_DEFAULT, &print_, &argument_);
    H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
  }
  ~SilentHdf5() { H5Eset_auto2(H5E_DEFAULT, print_, argument_); }
  SilentHdf5(const SilentHdf5&) = delete;
  SilentHdf5& operator=(const SilentHdf5&) = delete;

 private:
  H5E_auto2_t print_ = nullptr;
  void* argument_ = nullptr;
};

// The innermost entry of libhdf5's error stack: "truncated file: eof = 96, sblock->base_addr = 0, stored_eof = 2048";
// of one that quotes the system ("file write failed: time = ..., errno = 28, error message = '...', buf = ...") the
// quote.
inline std::string hdf5_reason() {
  std::string reason;
  const H5E_walk2_t keep_first = [](unsigned depth, const H5E_error2_t* entry, void* out) -> herr_t {
    if (depth == 0 && entry->desc != nullptr) *static_cast<std::string*>(out) = entry->desc;
    return 0;
  };
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_UPWARD, keep_first, &reason);
  const std::string quote = "error message = '";
  if (const size_t at = reason.find(quote); at != std::string::npos) {
    const size_t begin = at + quote.size();
    reason = reason.substr(begin, reason.find('\'', begin) - begin);
  }
  return reason.empty() ? "no reason given" : reason;
}

}  // namespace cfm::data
