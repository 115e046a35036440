#pragma once
// The stack, the memo and the containers that a pickle's opcodes work on. Private to pickle.cpp.

#include <cstdint>
#include <string>
#include <unordered_map>
#include <vector>

#include "packer/pickle_cursor.h"

namespace cfm::packer {

enum class PickleKind { kNone, kNumber, kReal, kText, kLatin1, kTuple, kList, kDict, kGlobal, kType, kArray };

// What stands on the stack. No value owns another: containers are in a table, so nothing here is recursive.
struct PickleValue {
  PickleKind kind = PickleKind::kNone;
  uint64_t first = 0;   // number; offset of a text; index into the table of its kind
  uint64_t second = 0;  // length of a text
};

// Values that a pickle may make: an ImageNet's worth of labels and file names, with what is remembered of them, are 4
// million.
constexpr size_t kMostPickleValues = 1 << 22;

class PickleStack {
 public:
  explicit PickleStack(const data::ByteSource& pickle) : cursor_(pickle), name_(pickle.name) {}

  // The next opcode; messages name its place until the next one.
  uint8_t next();
  // Does what the opcode says, if it makes values or containers or remembers them; false for any other.
  bool take(uint8_t opcode);

  void push(PickleValue value);
  PickleValue pop();
  // The value on top, which stays; Error if there is none.
  const PickleValue& top() const;
  size_t size() const { return stack_.size(); }

  // Of a tuple or list; of a dict key, value, key, value, ...
  const std::vector<PickleValue>& elements(const PickleValue& container) const { return containers_[container.first]; }
  // A text of up to 256 bytes; Error for anything else.
  std::string short_text(const PickleValue& value) const;
  PickleCursor& cursor() { return cursor_; }
  const PickleCursor& cursor() const { return cursor_; }

  // Error naming the opcode's place unless ok.
  void require(bool ok, const std::string& what) const;
  void require(bool ok, const char* what) const;

 private:
  bool literal(uint8_t opcode);
  bool text(uint8_t opcode);
  bool container(uint8_t opcode);
  bool memo(uint8_t opcode);
  void count_one();
  size_t floor() const { return marks_.empty() ? 0 : marks_.back(); }
  std::vector<PickleValue> pop_to_mark();
  PickleValue new_container(PickleKind kind, std::vector<PickleValue> values);
  void extend(PickleKind kind, const std::vector<PickleValue>& values);  // the container on top

  PickleCursor cursor_;
  const std::string name_;
  uint64_t opcode_at_ = 0;
  size_t values_ = 0;
  std::vector<PickleValue> stack_;
  std::vector<size_t> marks_;
  std::unordered_map<uint64_t, PickleValue> memo_;
  std::vector<std::vector<PickleValue>> containers_;
};

}  // namespace cfm::packer
