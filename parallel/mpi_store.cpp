#include "parallel/mpi_store.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstring>
#include <mutex>
#include <thread>
#include <torch/csrc/distributed/c10d/HashStore.hpp>
#include <torch/csrc/distributed/c10d/Store.hpp>
#include <utility>
#include <vector>

#include "parallel/mpi_handle.h"

namespace cfm::parallel {
namespace {

using Bytes = std::vector<uint8_t>;
using Clock = std::chrono::steady_clock;
using HashStorePtr = c10::intrusive_ptr<c10d::HashStore>;

constexpr int kRequestTag = 3, kAnswerTag = 4;
constexpr int kRoot = 0;

enum class Ask : uint8_t { kSet, kGet, kAdd, kCompareSet, kDelete, kCheck, kCount };

// A request, or an answer: every request has one at once, so nothing waits in the root.
struct Message {
  Ask ask = Ask::kGet;
  bool yes = false;           // kCheck, kGet, kDelete: the answer
  int64_t number = 0;         // kAdd: the summand, then the sum; kCount: the answer
  uint64_t sequence = 0;      // of a rank's requests; an answer has its request's
  std::vector<Bytes> fields;  // the keys, or a key and values
};

void append_raw(Bytes& bytes, const void* from, size_t size) {
  const size_t at = bytes.size();
  bytes.resize(at + size);
  if (size > 0) std::memcpy(bytes.data() + at, from, size);
}

template <typename T>
void append(Bytes& bytes, T value) {
  append_raw(bytes, &value, sizeof(T));
}

template <typename T>
T take(const Bytes& bytes, size_t& at) {
  T value;
  std::memcpy(&value, bytes.data() + at, sizeof(T));
  at += sizeof(T);
  return value;
}

Bytes pack(const Message& message) {
  Bytes bytes;
  append(bytes, message.ask);
  append(bytes, message.yes);
  append(bytes, message.number);
  append(bytes, message.sequence);
  append(bytes, static_cast<uint32_t>(message.fields.size()));
  for (const Bytes& field : message.fields) {
    append(bytes, static_cast<uint32_t>(field.size()));
    append_raw(bytes, field.data(), field.size());
  }
  return bytes;
}

// Of what pack() made, on a rank of this very program.
Message unpack(const Bytes& bytes) {
  size_t at = 0;
  Message message;
  message.ask = take<Ask>(bytes, at);
  message.yes = take<bool>(bytes, at);
  message.number = take<int64_t>(bytes, at);
  message.sequence = take<uint64_t>(bytes, at);
  message.fields.resize(take<uint32_t>(bytes, at));
  for (Bytes& field : message.fields) {
    const auto size = take<uint32_t>(bytes, at);
    field.assign(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                 bytes.begin() + static_cast<std::ptrdiff_t>(at + size));
    at += size;
  }
  return message;
}

Bytes bytes_of(const std::string& text) { return {text.begin(), text.end()}; }
std::string text_of(const Bytes& bytes) { return {bytes.begin(), bytes.end()}; }

Message answer(c10d::HashStore& keys, const Message& request) {
  Message answer{.ask = request.ask, .yes = false, .number = 0, .sequence = request.sequence, .fields = {}};
  std::vector<std::string> texts;
  for (const Bytes& field : request.fields) texts.push_back(text_of(field));
  switch (request.ask) {
    case Ask::kSet:
      keys.set(texts[0], request.fields[1]);
      break;
    case Ask::kGet:
      answer.yes = keys.check({texts[0]});
      if (answer.yes) answer.fields.push_back(keys.get(texts[0]));
      break;
    case Ask::kAdd:
      answer.number = keys.add(texts[0], request.number);
      break;
    case Ask::kCompareSet:
      answer.fields.push_back(keys.compareSet(texts[0], request.fields[1], request.fields[2]));
      break;
    case Ask::kDelete:
      answer.yes = keys.deleteKey(texts[0]);
      break;
    case Ask::kCheck:
      answer.yes = keys.check(texts);
      break;
    case Ask::kCount:
      answer.number = keys.getNumKeys();
      break;
  }
  return answer;
}

Bytes receive(MPI_Comm comm, const MPI_Status& probed) {
  int size = 0;
  MPI_Get_count(&probed, MPI_BYTE, &size);
  Bytes bytes(static_cast<size_t>(size));
  mpi_check(MPI_Recv(bytes.data(), size, MPI_BYTE, probed.MPI_SOURCE, probed.MPI_TAG, comm, MPI_STATUS_IGNORE),
            "MPI_Recv");
  return bytes;
}

// This rank's end of the line: the keys themselves on the root, the way to them elsewhere.
class Line {
 public:
  explicit Line(Communicator communicator)
      : communicator_(std::move(communicator)), is_root_(communicator_.rank() == kRoot) {
    if (!is_root_) return;
    keys_ = c10::make_intrusive<c10d::HashStore>();
    if (communicator_.size() > 1) thread_ = std::thread([this] { serve(); });
  }
  ~Line() { stop(); }
  Line(const Line&) = delete;
  Line& operator=(const Line&) = delete;

  void stop() {
    stopping_ = true;
    if (thread_.joinable()) thread_.join();
  }

  Message ask(Message request, std::chrono::milliseconds timeout) {
    return is_root_ ? answer(*keys_, request) : ask_root(std::move(request), timeout);
  }

 private:
  Message ask_root(Message request, std::chrono::milliseconds timeout);
  void serve();

  Communicator communicator_;
  const bool is_root_;
  HashStorePtr keys_;
  std::mutex mutex_;  // one request of this rank is under way at a time
  uint64_t requests_ = 0;
  std::atomic<bool> stopping_{false};
  std::thread thread_;  // last: it uses all of the above
};

Message Line::ask_root(Message request, std::chrono::milliseconds timeout) {
  const std::lock_guard lock(mutex_);
  request.sequence = ++requests_;
  const MPI_Comm comm = communicator_.handle().comm;
  const Bytes bytes = pack(request);
  mpi_check(MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, kRoot, kRequestTag, comm), "MPI_Send");
  const auto deadline = Clock::now() + timeout;
  while (true) {
    int there = 0;
    MPI_Status status;
    mpi_check(MPI_Iprobe(kRoot, kAnswerTag, comm, &there, &status), "MPI_Iprobe");
    if (there != 0) {
      Message answer = unpack(receive(comm, status));
      if (answer.sequence == request.sequence) return answer;
      continue;  // to a request that was given up: it came too late
    }
    if (Clock::now() > deadline) C10_THROW_ERROR(DistStoreError, "mpi store: rank 0 does not answer");
    std::this_thread::sleep_for(std::chrono::microseconds(20));
  }
}

void Line::serve() {
  const MPI_Comm comm = communicator_.handle().comm;
  auto last_request = Clock::now();
  while (!stopping_) {
    int there = 0;
    MPI_Status status;
    MPI_Iprobe(MPI_ANY_SOURCE, kRequestTag, comm, &there, &status);
    if (there != 0) {
      const Bytes bytes = pack(answer(*keys_, unpack(receive(comm, status))));
      MPI_Send(bytes.data(), static_cast<int>(bytes.size()), MPI_BYTE, status.MPI_SOURCE, kAnswerTag, comm);
      last_request = Clock::now();
    } else {  // requests come in bursts; between them, for hours, the cores belong to training
      const auto idle = Clock::now() - last_request;
      std::this_thread::sleep_for(pause_after(idle, std::chrono::microseconds(10), std::chrono::milliseconds(20)));
    }
  }
}

class MpiStore : public c10d::Store {
 public:
  MpiStore(std::shared_ptr<Line> line, std::chrono::milliseconds timeout) : Store(timeout), line_(std::move(line)) {}
  using Store::compareSet;
  using Store::set;

  c10::intrusive_ptr<Store> clone() override { return c10::make_intrusive<MpiStore>(line_, timeout_); }
  void set(const std::string& key, const Bytes& value) override { ask(Ask::kSet, {bytes_of(key), value}); }
  Bytes compareSet(const std::string& key, const Bytes& expected, const Bytes& desired) override {
    return ask(Ask::kCompareSet, {bytes_of(key), expected, desired}).fields.at(0);
  }
  Bytes get(const std::string& key) override {
    Bytes value;
    wait_until({key}, timeout_, [&] {
      const Message found = ask(Ask::kGet, {bytes_of(key)});
      if (found.yes) value = found.fields.at(0);
      return found.yes;
    });
    return value;
  }
  int64_t add(const std::string& key, int64_t value) override { return ask(Ask::kAdd, {bytes_of(key)}, value).number; }
  bool deleteKey(const std::string& key) override { return ask(Ask::kDelete, {bytes_of(key)}).yes; }
  int64_t getNumKeys() override { return ask(Ask::kCount, {}).number; }
  bool check(const std::vector<std::string>& keys) override {
    std::vector<Bytes> fields;
    std::transform(keys.begin(), keys.end(), std::back_inserter(fields), bytes_of);
    return ask(Ask::kCheck, fields).yes;
  }
  void wait(const std::vector<std::string>& keys) override { wait(keys, timeout_); }
  void wait(const std::vector<std::string>& keys, const std::chrono::milliseconds& timeout) override {
    wait_until(keys, timeout, [&] { return check(keys); });
  }
  Line& line() { return *line_; }

 private:
  Message ask(Ask what, const std::vector<Bytes>& fields, int64_t number = 0) {
    return line_->ask({.ask = what, .yes = false, .number = number, .sequence = 0, .fields = fields}, timeout_);
  }

  template <typename Ready>
  static void wait_until(const std::vector<std::string>& keys, std::chrono::milliseconds timeout, const Ready& ready) {
    const auto deadline = Clock::now() + timeout;
    for (auto pause = std::chrono::microseconds(50); !ready();
         pause = std::min(2 * pause, std::chrono::microseconds(10000))) {
      if (timeout != kNoTimeout && Clock::now() > deadline) {
        C10_THROW_ERROR(DistStoreError, c10::str("mpi store: no key ", keys, " after ", timeout.count(), " ms"));
      }
      std::this_thread::sleep_for(pause);
    }
  }

  std::shared_ptr<Line> line_;
};

}  // namespace

c10::intrusive_ptr<c10d::Store> make_mpi_store(Communicator communicator, std::chrono::milliseconds timeout) {
  return c10::make_intrusive<MpiStore>(std::make_shared<Line>(std::move(communicator)), timeout);
}

void stop_answering(c10d::Store& store) {
  auto* const mpi_store = dynamic_cast<MpiStore*>(&store);
  assert(mpi_store != nullptr);
  mpi_store->line().stop();
}

}  // namespace cfm::parallel
