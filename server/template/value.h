// Values of a running template, with Python's types as Jinja2 sees them. Lists and dicts are
// immutable once made (as in Jinja2's immutable sandbox) and carry their nesting depth, so that
// neither printing nor destroying them can overflow the stack. One thread (that of the render);
// literals in a parsed template are shared by renders and only read.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "server/template/budget.h"
#include "server/template/text.h"

namespace headgate::jinja {

class Value;
struct Sequence;
struct Dict;
struct Callable;
struct Namespace;
struct LoopState;

// Jinja2's default Undefined: empty and false; an error when used for more.
struct Undefined {
  std::shared_ptr<const std::string> what;  // the message of the error
};
struct None {};

class Value {
 public:
  using Data = std::variant<Undefined, None, bool, int64_t, double, std::shared_ptr<const Text>,
                            std::shared_ptr<const Sequence>, std::shared_ptr<const Dict>,
                            std::shared_ptr<const Callable>, Namespace*, LoopState*>;

  Value() = default;
  // `trusted`: provenance of a number, a bool or a container's brackets. Strings carry their own.
  explicit Value(Data data, bool trusted = true);

  static Value Missing(std::string_view what) {
    return Value(Undefined{std::make_shared<const std::string>(what)});
  }
  static Value Bool(bool value) { return Value(Data(value)); }
  static Value Int(int64_t value, bool trusted) { return Value(Data(value), trusted); }
  static Value Float(double value, bool trusted) { return Value(Data(value), trusted); }
  static Value String(Text text) {
    return Value(Data(std::make_shared<const Text>(std::move(text))));
  }

  bool IsUndefined() const { return Holds<Undefined>(); }
  bool IsNone() const { return Holds<None>(); }
  bool IsBool() const { return Holds<bool>(); }
  bool IsInt() const { return Holds<int64_t>(); }  // bool is not included
  bool IsFloat() const { return Holds<double>(); }
  bool IsIntegral() const { return IsBool() || IsInt(); }
  bool IsNumber() const { return IsIntegral() || IsFloat(); }
  bool IsString() const { return Holds<std::shared_ptr<const Text>>(); }
  bool IsSequence() const { return Holds<std::shared_ptr<const Sequence>>(); }
  bool IsDict() const { return Holds<std::shared_ptr<const Dict>>(); }
  bool IsCallable() const { return Holds<std::shared_ptr<const Callable>>(); }
  bool IsNamespace() const { return Holds<Namespace*>(); }
  bool IsLoop() const { return Holds<LoopState*>(); }

  // REQUIRES: the value is of the kind.
  int64_t integer() const { return IsBool() ? std::get<bool>(data_) : std::get<int64_t>(data_); }
  bool boolean() const { return std::get<bool>(data_); }
  double number() const {
    return IsFloat() ? std::get<double>(data_) : static_cast<double>(integer());
  }
  const Text& text() const { return *std::get<std::shared_ptr<const Text>>(data_); }
  std::string_view view() const { return text().view(); }
  const Sequence& sequence() const { return *std::get<std::shared_ptr<const Sequence>>(data_); }
  const Dict& dict() const { return *std::get<std::shared_ptr<const Dict>>(data_); }
  const Callable& callable() const { return *std::get<std::shared_ptr<const Callable>>(data_); }
  Namespace* name_space() const { return std::get<Namespace*>(data_); }
  LoopState* loop() const { return std::get<LoopState*>(data_); }
  const Undefined& undefined() const { return std::get<Undefined>(data_); }

  bool trusted() const { return IsString() ? text().trusted() : trusted_; }
  int depth() const;                          // 0 for scalars, 1 + the deepest child for containers
  const char* TypeName() const;               // as Python names it
  bool SameObject(const Value& other) const;  // Python's `is`

 private:
  template <typename T>
  bool Holds() const {
    return std::holds_alternative<T>(data_);
  }

  Data data_;
  bool trusted_ = true;
};

enum class SequenceKind : uint8_t { kList, kTuple, kRange, kIterator, kKeys, kValues, kItems };

struct Sequence {
  SequenceKind kind = SequenceKind::kList;
  std::vector<Value> items;
  int depth = 1;
  mutable size_t consumed = 0;  // kIterator only: a generator yields each element once

  bool indexable() const {
    return kind == SequenceKind::kList || kind == SequenceKind::kTuple ||
           kind == SequenceKind::kRange;
  }
};

struct Dict {
  std::vector<std::pair<Value, Value>> entries;  // in insertion order, keys differ
  std::map<std::string_view, size_t> index;      // string keys; views into `entries`
  int depth = 1;

  const Value* Find(std::string_view key) const;
  const Value* Find(const Value& key) const;  // nullptr when absent or not hashable
};

// Something that a template can call. The evaluator knows what the names mean.
struct Callable {
  enum class Kind : uint8_t { kGlobal, kMethod, kMacro };
  Kind kind = Kind::kGlobal;
  std::string name;             // of the global or the method
  Value self;                   // kMethod: the object
  const void* macro = nullptr;  // kMacro: a MacroClosure of the render
  int depth = 1;
};

// Mutable, owned by the render.
struct Namespace {
  std::vector<std::pair<std::string, Value>> fields;

  Value* Find(std::string_view name);
};

// The `loop` variable, owned by the render.
struct LoopState {
  std::vector<Value> items;
  size_t index0 = 0;
  bool has_changed_key = false;
  std::vector<Value> changed_key;
};

// Constructors that respect the limits: RESOURCE_EXHAUSTED, or INVALID_ARGUMENT when a key is not
// hashable.
absl::StatusOr<Value> MakeString(Budget& budget, Text text);
absl::StatusOr<Value> MakeSequence(Budget& budget, SequenceKind kind, std::vector<Value> items,
                                   bool trusted = true);
// A later entry wins over an earlier one of the same key, at the earlier one's place.
absl::StatusOr<Value> MakeDict(Budget& budget, std::vector<std::pair<Value, Value>> entries,
                               bool trusted = true);
Value MakeMethod(const Value& self, std::string_view name);

bool Truthy(const Value& value);

// What a for loop visits: elements, keys of a dict, characters of a string. An iterator is used up.
// INVALID_ARGUMENT when `value` cannot be iterated.
absl::StatusOr<std::vector<Value>> Iterate(Budget& budget, const Value& value);

// len(); nullopt-like: INVALID_ARGUMENT when the value has none.
absl::StatusOr<int64_t> Length(Budget& budget, const Value& value);

// The error of every use of an undefined value that is one.
absl::Status UndefinedError(const Value& value);

}  // namespace headgate::jinja
