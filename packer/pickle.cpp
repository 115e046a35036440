#include "packer/pickle.h"

#include <algorithm>

#include "data/npy_header.h"
#include "packer/latin1.h"
#include "packer/pickle_stack.h"
#include "packer/pickle_words.h"

namespace cfm::packer {
namespace {

constexpr size_t kMostArrays = 1 << 12, kLongestType = 32;

// What numpy's arrays are made of by calls, on top of the values of pickle_stack.h.
class Reader {
 public:
  explicit Reader(const data::ByteSource& pickle) : stack_(pickle) {}

  PickledDict read() {
    stack_.require(stack_.next() == 0x80,
                   "no pickle of protocol 2 or later begins like this. Write it again: "
                   "pickle.dump(batch, file, protocol=4)");
    const uint8_t protocol = stack_.cursor().byte();
    stack_.require(protocol >= 2 && protocol <= 5,
                   "a pickle of protocol " + std::to_string(protocol) + "; protocols 2 to 5 are read.");
    while (true) {
      const uint8_t opcode = stack_.next();
      if (opcode == '.') return result();
      if (!stack_.take(opcode)) call(opcode);
    }
  }

 private:
  void call(uint8_t opcode) {
    switch (opcode) {
      case 'c': {  // GLOBAL
        const std::string module = stack_.cursor().line();
        return push_global(module, stack_.cursor().line());
      }
      case 0x93: {  // STACK_GLOBAL
        const PickleValue name = stack_.pop(), module = stack_.pop();
        return push_global(stack_.short_text(module), stack_.short_text(name));
      }
      case 'R': {  // REDUCE
        const PickleValue arguments = stack_.pop(), function = stack_.pop();
        stack_.require(function.kind == PickleKind::kGlobal && arguments.kind == PickleKind::kTuple,
                       "a call of what is no function.");
        return stack_.push(called(static_cast<PickleGlobal>(function.first), stack_.elements(arguments)));
      }
      case 'b': {  // BUILD
        const PickleValue state = stack_.pop();
        stack_.require(state.kind == PickleKind::kTuple, "BUILD from what is no tuple.");
        return build(stack_.top(), stack_.elements(state));
      }
      default:
        stack_.require(false,
                       "opcode " + opcode_name(opcode) +
                           ": no dict of arrays and labels needs it. Such pickles are read, and no others: they can "
                           "run code.");
    }
  }

  PickleValue new_array(PickledArray array) {
    stack_.require(arrays_.size() < kMostArrays, "more arrays than a batch of images has.");
    arrays_.push_back(std::move(array));
    return {PickleKind::kArray, arrays_.size() - 1};
  }

  void push_global(const std::string& module, const std::string& name) {
    const std::optional<PickleGlobal> known = pickle_global(module + "." + name);
    stack_.require(
        known.has_value(),
        "the global " + module + "." + name +
            ": no dict of arrays and labels needs it. Such pickles are read, and no others: they can run code.");
    stack_.push({PickleKind::kGlobal, static_cast<uint64_t>(*known)});
  }

  PickleValue called(PickleGlobal function, const std::vector<PickleValue>& arguments) {
    const auto is = [&arguments](size_t i, PickleKind kind) {
      return i < arguments.size() && arguments[i].kind == kind;
    };
    switch (function) {
      case PickleGlobal::kReconstruct:
        stack_.require(
            is(0, PickleKind::kGlobal) && static_cast<PickleGlobal>(arguments[0].first) == PickleGlobal::kNdarray,
            "_reconstruct of what is no numpy.ndarray.");
        return new_array({});
      case PickleGlobal::kFromBuffer: {
        stack_.require(arguments.size() == 4 && is(1, PickleKind::kType) && is(2, PickleKind::kTuple),
                       "_frombuffer of another form.");
        PickledArray array = array_of(arguments[0], arguments[1], arguments[2]);
        array.fortran_order = stack_.short_text(arguments[3]) == "F";
        return new_array(std::move(array));
      }
      case PickleGlobal::kScalar:
        stack_.require(arguments.size() == 2 && is(0, PickleKind::kType), "scalar of another form.");
        return scalar(types_[arguments[0].first], arguments[1]);
      case PickleGlobal::kDtype:
        stack_.require(is(0, PickleKind::kText), "dtype of what is no text.");
        stack_.require(types_.size() < kMostArrays, "more dtypes than a batch of images has.");
        types_.push_back(stack_.short_text(arguments[0]));
        return {PickleKind::kType, types_.size() - 1};
      case PickleGlobal::kEncode:
        stack_.require(arguments.size() == 2 && is(0, PickleKind::kText) && stack_.short_text(arguments[1]) == "latin1",
                       "encode to anything but latin1.");
        return {PickleKind::kLatin1, arguments[0].first, arguments[0].second};
      default:
        stack_.require(false, "a call of numpy.ndarray.");
    }
    return {};
  }

  PickleValue scalar(const std::string& type, const PickleValue& bytes) {
    const size_t item = data::integer_bytes(type);
    if (item == 0) return {PickleKind::kReal};
    const bool is_text = bytes.kind == PickleKind::kText || bytes.kind == PickleKind::kLatin1;
    stack_.require(is_text && bytes.second <= 2 * item, "a scalar of another length than its type.");
    std::string value = stack_.cursor().text(bytes.first, bytes.second);
    if (bytes.kind == PickleKind::kLatin1) {
      std::string decoded;
      for_each_latin1_piece(data::memory_bytes("a scalar", value),
                            [&decoded](std::span<const uint8_t> piece) { decoded.append(piece.begin(), piece.end()); });
      value = decoded;
    }
    stack_.require(value.size() == item, "a scalar of another length than its type.");
    return {PickleKind::kNumber, static_cast<uint64_t>(data::integers(type, value).front())};
  }

  PickledArray array_of(const PickleValue& bytes, const PickleValue& type, const PickleValue& shape) const {
    stack_.require(bytes.kind == PickleKind::kText || bytes.kind == PickleKind::kLatin1,
                   "an array whose elements are no bytes (dtype object?); arrays of numbers are read.");
    PickledArray array{.type = types_[type.first],
                       .offset = bytes.first,
                       .size = bytes.second,
                       .latin1 = bytes.kind == PickleKind::kLatin1};
    for (const PickleValue& size : stack_.elements(shape)) {
      stack_.require(
          size.kind == PickleKind::kNumber && static_cast<int64_t>(size.first) >= 0 && array.shape.size() < 32,
          "the shape of an array is no tuple of sizes.");
      array.shape.push_back(static_cast<int64_t>(size.first));
    }
    return array;
  }

  // An array from (version, shape, type, Fortran order, elements); a type from (version, order of bytes, ...).
  void build(const PickleValue& object, const std::vector<PickleValue>& state) {
    if (object.kind == PickleKind::kType) {
      stack_.require(state.size() >= 2, "a dtype of another form.");
      std::string& type = types_[object.first];
      const std::string order = stack_.short_text(state[1]);
      stack_.require(order.size() == 1 && type.size() < kLongestType, "a dtype of another form.");
      type = (order == "=" ? "<" : order) + type;
      return;
    }
    stack_.require(object.kind == PickleKind::kArray && state.size() == 5 && state[1].kind == PickleKind::kTuple &&
                       state[2].kind == PickleKind::kType && state[3].kind == PickleKind::kNumber,
                   "BUILD of what is no array or dtype of numpy.");
    PickledArray array = array_of(state[4], state[2], state[1]);
    array.fortran_order = state[3].first != 0;
    arrays_[object.first] = std::move(array);
  }

  PickledDict result() const {
    stack_.require(stack_.size() == 1 && stack_.top().kind == PickleKind::kDict,
                   "the pickle ends with something else than a dict; expected one of arrays and labels.");
    const std::vector<PickleValue>& items = stack_.elements(stack_.top());
    stack_.require(items.size() <= 2 * kMostArrays, "more keys than a batch of images has.");
    PickledDict dict;
    size_t looked_at = 0;
    for (size_t i = 0; i + 1 < items.size(); i += 2) {
      const std::string key = stack_.short_text(items[i]);
      const PickleValue& value = items[i + 1];
      const bool list = value.kind == PickleKind::kList || value.kind == PickleKind::kTuple;
      looked_at += list ? stack_.elements(value).size() : 0;
      stack_.require(looked_at <= kMostPickleValues, "the same list again and again.");
      const auto is_number = [](const PickleValue& element) { return element.kind == PickleKind::kNumber; };
      if (value.kind == PickleKind::kArray) {
        dict.arrays[key] = arrays_[value.first];
      } else if (list && std::ranges::all_of(stack_.elements(value), is_number)) {
        std::vector<int64_t>& numbers = dict.lists[key];
        numbers.clear();
        for (const PickleValue& element : stack_.elements(value))
          numbers.push_back(static_cast<int64_t>(element.first));
      } else {
        dict.others.push_back(key);
      }
    }
    return dict;
  }

  PickleStack stack_;
  std::vector<std::string> types_;
  std::vector<PickledArray> arrays_;
};

}  // namespace

PickledDict read_pickle(const data::ByteSource& pickle) { return Reader(pickle).read(); }

}  // namespace cfm::packer
