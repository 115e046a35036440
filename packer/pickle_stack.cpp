#include "packer/pickle_stack.h"

#include "base/error.h"

namespace cfm::packer {
namespace {

constexpr uint64_t kLongestName = 256;

}  // namespace

uint8_t PickleStack::next() {
  opcode_at_ = cursor_.at();
  return cursor_.byte();
}

bool PickleStack::take(uint8_t opcode) { return literal(opcode) || text(opcode) || container(opcode) || memo(opcode); }

void PickleStack::require(bool ok, const std::string& what) const {
  if (!ok) throw Error("byte " + std::to_string(opcode_at_) + " of " + name_ + ": " + what);
}

void PickleStack::require(bool ok, const char* what) const {
  if (!ok) require(false, std::string(what));
}

void PickleStack::count_one() {
  require(++values_ <= kMostPickleValues, "more values than the batches of an image set hold (2^22).");
}

void PickleStack::push(PickleValue value) {
  count_one();
  stack_.push_back(value);
}

PickleValue PickleStack::pop() {
  require(stack_.size() > floor(), "the pickle is damaged: nothing is left to take.");
  const PickleValue value = stack_.back();
  stack_.pop_back();
  return value;
}

const PickleValue& PickleStack::top() const {
  require(stack_.size() > floor(), "the pickle is damaged: nothing is left to take.");
  return stack_.back();
}

std::vector<PickleValue> PickleStack::pop_to_mark() {
  require(!marks_.empty(), "the pickle is damaged: no mark is left.");
  const auto from = stack_.begin() + static_cast<std::ptrdiff_t>(marks_.back());
  std::vector<PickleValue> values(from, stack_.end());
  stack_.erase(from, stack_.end());
  marks_.pop_back();
  return values;
}

std::string PickleStack::short_text(const PickleValue& value) const {
  require((value.kind == PickleKind::kText || value.kind == PickleKind::kLatin1) && value.second <= kLongestName,
          "expected a name.");
  return cursor_.text(value.first, value.second);
}

bool PickleStack::literal(uint8_t opcode) {
  const auto number = [this](int64_t value) { push({PickleKind::kNumber, static_cast<uint64_t>(value)}); };
  switch (opcode) {
    case 'N':  // NONE
      push({PickleKind::kNone});
      return true;
    case 0x88:  // NEWTRUE
      number(1);
      return true;
    case 0x89:  // NEWFALSE
      number(0);
      return true;
    case 'K':  // BININT1
      number(static_cast<int64_t>(cursor_.number(1)));
      return true;
    case 'M':  // BININT2
      number(static_cast<int64_t>(cursor_.number(2)));
      return true;
    case 'J':  // BININT
      number(static_cast<int32_t>(cursor_.number(4)));
      return true;
    case 'G':  // BINFLOAT
      cursor_.skip(8), push({PickleKind::kReal});
      return true;
    case 0x8a: {  // LONG1
      const uint64_t bytes = cursor_.number(1);
      require(bytes <= 8, "an integer of more than 64 bits.");
      uint64_t value = cursor_.number(bytes);
      if (bytes > 0 && bytes < 8 && value >> (8 * bytes - 1) != 0) value |= ~uint64_t{0} << (8 * bytes);
      number(static_cast<int64_t>(value));
      return true;
    }
    default:
      return false;
  }
}

bool PickleStack::text(uint8_t opcode) {
  size_t width = 0;
  switch (opcode) {
    case 'U':   // SHORT_BINSTRING
    case 'C':   // SHORT_BINBYTES
    case 0x8c:  // SHORT_BINUNICODE
      width = 1;
      break;
    case 'T':  // BINSTRING
    case 'X':  // BINUNICODE
    case 'B':  // BINBYTES
      width = 4;
      break;
    case 0x8d:  // BINUNICODE8
    case 0x8e:  // BINBYTES8
    case 0x96:  // BYTEARRAY8
      width = 8;
      break;
    default:
      return false;
  }
  const uint64_t size = cursor_.number(width);
  const uint64_t offset = cursor_.at();
  cursor_.skip(size);
  push({PickleKind::kText, offset, size});
  return true;
}

PickleValue PickleStack::new_container(PickleKind kind, std::vector<PickleValue> values) {
  containers_.push_back(std::move(values));
  return {kind, containers_.size() - 1};
}

void PickleStack::extend(PickleKind kind, const std::vector<PickleValue>& values) {
  require(top().kind == kind, kind == PickleKind::kList ? "APPEND to what is no list." : "SETITEM of what is no dict.");
  std::vector<PickleValue>& into = containers_[top().first];
  into.insert(into.end(), values.begin(), values.end());
}

bool PickleStack::container(uint8_t opcode) {
  switch (opcode) {
    case '(':  // MARK
      count_one(), marks_.push_back(stack_.size());
      return true;
    case ')':  // EMPTY_TUPLE
      push(new_container(PickleKind::kTuple, {}));
      return true;
    case ']':  // EMPTY_LIST
      push(new_container(PickleKind::kList, {}));
      return true;
    case '}':  // EMPTY_DICT
      push(new_container(PickleKind::kDict, {}));
      return true;
    case 't':  // TUPLE
      push(new_container(PickleKind::kTuple, pop_to_mark()));
      return true;
    case 0x85:    // TUPLE1
    case 0x86:    // TUPLE2
    case 0x87: {  // TUPLE3
      std::vector<PickleValue> values(opcode - 0x84U);
      for (size_t i = values.size(); i-- > 0;) values[i] = pop();
      push(new_container(PickleKind::kTuple, std::move(values)));
      return true;
    }
    case 'a': {  // APPEND
      const PickleValue value = pop();
      extend(PickleKind::kList, {value});
      return true;
    }
    case 'e': {  // APPENDS
      const std::vector<PickleValue> values = pop_to_mark();
      extend(PickleKind::kList, values);
      return true;
    }
    case 's': {  // SETITEM
      const PickleValue value = pop(), key = pop();
      extend(PickleKind::kDict, {key, value});
      return true;
    }
    case 'u': {  // SETITEMS
      const std::vector<PickleValue> values = pop_to_mark();
      require(values.size() % 2 == 0, "SETITEMS of a key without a value.");
      extend(PickleKind::kDict, values);
      return true;
    }
    default:
      return false;
  }
}

bool PickleStack::memo(uint8_t opcode) {
  const auto put = [this](uint64_t place) {
    require(stack_.size() > floor(), "the pickle is damaged: nothing is there to remember.");
    count_one();
    memo_[place] = stack_.back();
  };
  const auto get = [this](uint64_t place) {
    const auto found = memo_.find(place);
    require(found != memo_.end(), "the pickle is damaged: it asks for what it did not remember.");
    push(found->second);
  };
  switch (opcode) {
    case 'q':  // BINPUT
      put(cursor_.number(1));
      return true;
    case 'r':  // LONG_BINPUT
      put(cursor_.number(4));
      return true;
    case 0x94:  // MEMOIZE
      put(memo_.size());
      return true;
    case 'h':  // BINGET
      get(cursor_.number(1));
      return true;
    case 'j':  // LONG_BINGET
      get(cursor_.number(4));
      return true;
    case 0x95:  // FRAME: a hint for reading
      cursor_.skip(8);
      return true;
    default:
      return false;
  }
}

}  // namespace cfm::packer
