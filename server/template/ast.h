// The parsed template. Immutable after parsing and shared by all renders; any thread may read it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "server/template/filters.h"
#include "server/template/operators.h"
#include "server/template/value.h"
#include "server/template/value_tests.h"

namespace headgate::jinja {

struct Expr;
using ExprPtr = std::unique_ptr<const Expr>;
struct Stmt;
using Body = std::vector<std::unique_ptr<const Stmt>>;

struct Arguments {
  std::vector<ExprPtr> positional;
  std::vector<std::pair<std::string, ExprPtr>> named;
  ExprPtr star;         // *expr, or null
  ExprPtr double_star;  // **expr, or null
};

enum class CompareOp : uint8_t {
  kEqual,
  kNotEqual,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kIn,
  kNotIn
};

struct LiteralExpr {
  Value value;
};
struct NameExpr {
  std::string name;
};
struct AttributeExpr {
  ExprPtr object;
  std::string name;
};
struct SubscriptExpr {
  ExprPtr object;
  ExprPtr key;
};
struct SliceExpr {  // absent bounds are null
  ExprPtr object;
  ExprPtr start;
  ExprPtr stop;
  ExprPtr step;
};
struct CallExpr {
  ExprPtr callee;
  Arguments args;
};
struct FilterExpr {
  ExprPtr input;  // null in a filter block or block set: the text of the block
  std::string name;
  FilterFunction function;  // null: unknown, an error when it is reached
  Arguments args;
};
struct TestExpr {
  ExprPtr input;
  std::string name;
  TestFunction function;  // null: unknown, an error when it is reached
  Arguments args;
};
struct NotExpr {
  ExprPtr operand;
};
struct SignExpr {  // -x, or +x
  bool negative;
  ExprPtr operand;
};
struct BinaryExpr {
  BinaryOp op;
  ExprPtr left;
  ExprPtr right;
};
struct LogicalExpr {
  bool is_and;
  ExprPtr left;
  ExprPtr right;
};
struct ConcatExpr {  // a ~ b ~ c
  std::vector<ExprPtr> parts;
};
struct CompareExpr {  // a < b == c
  ExprPtr first;
  std::vector<std::pair<CompareOp, ExprPtr>> rest;
};
struct ConditionalExpr {  // then if condition else otherwise; otherwise may be null
  ExprPtr condition;
  ExprPtr then;
  ExprPtr otherwise;
};
struct SequenceExpr {
  SequenceKind kind;  // kList or kTuple
  std::vector<ExprPtr> items;
};
struct DictExpr {
  std::vector<std::pair<ExprPtr, ExprPtr>> entries;
};

struct Expr {
  int line = 0;
  int depth = 1;  // of the tree below, this node counted
  std::variant<LiteralExpr, NameExpr, AttributeExpr, SubscriptExpr, SliceExpr, CallExpr, FilterExpr,
               TestExpr, NotExpr, SignExpr, BinaryExpr, LogicalExpr, ConcatExpr, CompareExpr,
               ConditionalExpr, SequenceExpr, DictExpr>
      node;
};

// What an assignment writes: a name, a field of a namespace, or a tuple of targets.
struct Target {
  std::string name;
  std::string field;  // not empty: name.field
  bool is_tuple = false;
  std::vector<Target> parts;  // of a tuple
};

struct Signature {
  std::vector<std::string> names;
  std::vector<ExprPtr> defaults;  // of the last names
};

struct DataStmt {
  Value text;
};
struct PrintStmt {
  ExprPtr value;
};
struct SetStmt {
  Target target;
  ExprPtr value;
};
struct SetBlockStmt {
  Target target;
  ExprPtr filter;  // or null
  Body body;
};
struct ForStmt {
  Target target;
  ExprPtr iterable;
  ExprPtr condition;  // or null
  Body body;
  Body otherwise;
};
struct IfStmt {
  std::vector<std::pair<ExprPtr, Body>> branches;
  Body otherwise;
};
struct MacroStmt {
  std::string name;
  Signature signature;
  Body body;
};
struct CallBlockStmt {
  MacroStmt caller;
  ExprPtr call;  // a CallExpr
};
struct FilterBlockStmt {
  ExprPtr filter;
  Body body;
};
struct WithStmt {  // also {% generation %}: no targets
  std::vector<std::pair<Target, ExprPtr>> values;
  Body body;
};
struct LoopControlStmt {
  bool is_break;
};

struct Stmt {
  int line = 0;
  std::variant<DataStmt, PrintStmt, SetStmt, SetBlockStmt, ForStmt, IfStmt, MacroStmt,
               CallBlockStmt, FilterBlockStmt, WithStmt, LoopControlStmt>
      node;
};

}  // namespace headgate::jinja
