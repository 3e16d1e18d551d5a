#include "server/tokenizer/split.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status_macros.h"
#include "server/tokenizer/pattern.h"

namespace headgate {
namespace {

struct Piece {
  TextSpan span;
  bool is_match = false;
};

// Joins pieces as the behavior says, with one piece of lookahead.
class Joiner final {
 public:
  Joiner(std::string_view text, SplitBehavior behavior, Split::PieceSink sink)
      : text_(text), behavior_(behavior), sink_(sink) {}

  absl::Status Push(Piece piece) {
    if (piece.span.begin == piece.span.end) return absl::OkStatus();
    const bool after_match = last_was_match_;
    last_was_match_ = piece.is_match;
    if (held_) {
      switch (behavior_) {
        case SplitBehavior::kMergedWithPrevious:
          if (piece.is_match && !after_match) {
            held_->span.end = piece.span.end;
            return absl::OkStatus();
          }
          break;
        case SplitBehavior::kMergedWithNext:
          if (held_->is_match && !piece.is_match) {
            held_ = Piece{{held_->span.begin, piece.span.end}, false};
            return absl::OkStatus();
          }
          break;
        case SplitBehavior::kContiguous:
          if (held_->is_match == piece.is_match) {
            held_->span.end = piece.span.end;
            return absl::OkStatus();
          }
          break;
        case SplitBehavior::kRemoved:
        case SplitBehavior::kIsolated:
          break;
      }
    }
    RETURN_IF_ERROR(Flush());
    held_ = piece;
    return absl::OkStatus();
  }

  absl::Status Flush() {
    if (!held_) return absl::OkStatus();
    const Piece piece = *held_;
    held_.reset();
    if (piece.is_match && behavior_ == SplitBehavior::kRemoved) return absl::OkStatus();
    return sink_(text_.substr(piece.span.begin, piece.span.end - piece.span.begin));
  }

 private:
  std::string_view text_;
  SplitBehavior behavior_;
  Split::PieceSink sink_;
  std::optional<Piece> held_;
  bool last_was_match_ = false;
};

absl::StatusOr<SplitBehavior> ParseBehavior(const JsonNode& node) {
  ASSIGN_OR_RETURN(const std::string name, node.String("behavior"));
  if (name == "Removed") return SplitBehavior::kRemoved;
  if (name == "Isolated") return SplitBehavior::kIsolated;
  if (name == "MergedWithPrevious") return SplitBehavior::kMergedWithPrevious;
  if (name == "MergedWithNext") return SplitBehavior::kMergedWithNext;
  if (name == "Contiguous") return SplitBehavior::kContiguous;
  return node.Error("behavior", absl::StrCat("\"", name, "\" is not supported"));
}

}  // namespace

absl::StatusOr<Split> Split::Parse(const JsonNode& node) {
  ASSIGN_OR_RETURN(Regex pattern, ParsePattern(node));
  ASSIGN_OR_RETURN(const SplitBehavior behavior, ParseBehavior(node));
  ASSIGN_OR_RETURN(const bool invert, node.Bool("invert", false));
  return Split(std::move(pattern), behavior, invert);
}

absl::Status Split::Cut(std::string_view text, PieceSink sink) const {
  Joiner joiner(text, behavior_, sink);
  size_t done = 0;
  Regex::Cursor cursor(pattern_, text);
  while (true) {
    ASSIGN_OR_RETURN(const std::optional<TextSpan> match, cursor.Next());
    if (!match) break;
    RETURN_IF_ERROR(joiner.Push({{done, match->begin}, invert_}));
    RETURN_IF_ERROR(joiner.Push({*match, !invert_}));
    done = match->end;
  }
  RETURN_IF_ERROR(joiner.Push({{done, text.size()}, invert_}));
  return joiner.Flush();
}

}  // namespace headgate
