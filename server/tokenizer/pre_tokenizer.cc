#include "server/tokenizer/pre_tokenizer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "base/absl_view.h"
#include "base/check.h"
#include "base/status_macros.h"

namespace headgate {
namespace {

constexpr std::string_view kMetaspaceMark = "\u2581";

// GPT-2's cut (Radford et al., 2019, encoder.py), which ByteLevel does unless use_regex is false.
constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

absl::StatusOr<Split> Isolate(std::string_view pattern) {
  ASSIGN_OR_RETURN(Regex regex, Regex::Compile(pattern));
  return Split(std::move(regex), SplitBehavior::kIsolated, /*invert=*/false);
}

}  // namespace

absl::Status PreTokenizer::ParseByteLevel(const JsonNode& node) {
  ByteLevel stage;
  ASSIGN_OR_RETURN(stage.add_prefix_space, node.Bool("add_prefix_space", true));
  ASSIGN_OR_RETURN(const bool use_regex, node.Bool("use_regex", true));
  if (use_regex) {
    ASSIGN_OR_RETURN(stage.split, Isolate(kGpt2Regex));
  }
  byte_level_ = true;
  stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status PreTokenizer::ParseMetaspace(const JsonNode& node) {
  Metaspace stage;
  stage.mark = kMetaspaceMark;
  if (node.Has("replacement")) {
    ASSIGN_OR_RETURN(stage.mark, node.String("replacement"));
  }
  if (node.Has("prepend_scheme")) {
    ASSIGN_OR_RETURN(const std::string scheme, node.String("prepend_scheme"));
    if (scheme == "always") {
      stage.prepend = Metaspace::Prepend::kAlways;
    } else if (scheme == "first") {
      stage.prepend = Metaspace::Prepend::kFirst;
    } else if (scheme == "never") {
      stage.prepend = Metaspace::Prepend::kNever;
    } else {
      return node.Error("prepend_scheme", absl::StrCat("\"", scheme, "\" is not supported"));
    }
  } else {  // files of before prepend_scheme
    ASSIGN_OR_RETURN(const bool add, node.Bool("add_prefix_space", true));
    stage.prepend = add ? Metaspace::Prepend::kAlways : Metaspace::Prepend::kNever;
  }
  ASSIGN_OR_RETURN(const bool split, node.Bool("split", true));
  if (split) {
    absl::StatusOr<Regex> mark = Regex::Literal(stage.mark);
    if (!mark.ok()) return node.Error("replacement", StdView(mark.status().message()));
    stage.split.emplace(*std::move(mark), SplitBehavior::kMergedWithNext, /*invert=*/false);
  }
  stages_.push_back(std::move(stage));
  return absl::OkStatus();
}

absl::Status PreTokenizer::ParseStage(const JsonNode& node, int depth) {
  if (depth > kNestingMax) return node.Error("", "is nested too deeply");
  const absl::StatusOr<std::string> named = node.String("type");
  if (!named.ok()) return named.status();
  const std::string& type = *named;
  if (type == "Sequence") {
    ASSIGN_OR_RETURN(const std::vector<JsonNode> parts, node.List("pretokenizers"));
    for (const JsonNode& part : parts) RETURN_IF_ERROR(ParseStage(part, depth + 1));
    return absl::OkStatus();
  }
  if (byte_level_) return node.Error("", "comes after ByteLevel, which must be the last step");
  if (type == "ByteLevel") return ParseByteLevel(node);
  if (type == "Metaspace") return ParseMetaspace(node);
  if (type == "Split") {
    ASSIGN_OR_RETURN(Split split, Split::Parse(node));
    stages_.push_back(std::move(split));
    return absl::OkStatus();
  }
  if (type == "Digits") {
    ASSIGN_OR_RETURN(const bool individual, node.Bool("individual_digits", false));
    ASSIGN_OR_RETURN(Split split, Isolate(individual ? R"(\p{N})" : R"(\p{N}+)"));
    stages_.push_back(std::move(split));
    return absl::OkStatus();
  }
  return node.Error("type", absl::StrCat("\"", type,
                                         "\" is not supported; supported pre-tokenizers: Sequence, "
                                         "ByteLevel, Split, Digits, Metaspace"));
}

absl::StatusOr<PreTokenizer> PreTokenizer::Parse(const JsonNode& root) {
  PreTokenizer pre_tokenizer;
  if (!root.Has("pre_tokenizer")) return pre_tokenizer;
  ASSIGN_OR_RETURN(const JsonNode node, root.At("pre_tokenizer"));
  RETURN_IF_ERROR(pre_tokenizer.ParseStage(node, 0));
  return pre_tokenizer;
}

absl::Status PreTokenizer::Cut(std::string_view text, bool at_start, WordSink sink) const {
  return RunStages(0, text, at_start, sink);
}

absl::Status PreTokenizer::RunStages(size_t stage, std::string_view text, bool at_start,
                                     WordSink sink) const {
  if (text.empty()) return absl::OkStatus();
  if (stage == stages_.size()) {
    sink(text);
    return absl::OkStatus();
  }
  const char* begin = text.data();
  const auto next = [&](std::string_view piece) {
    return RunStages(stage + 1, piece, at_start && piece.data() == begin, sink);
  };
  if (const auto* split = std::get_if<Split>(&stages_[stage])) return split->Cut(text, next);

  std::string rewritten;
  if (const auto* bytes = std::get_if<ByteLevel>(&stages_[stage])) {
    if (bytes->add_prefix_space && text.front() != ' ') {
      rewritten = absl::StrCat(" ", AbslView(text));
      text = rewritten;
      begin = text.data();
    }
    return bytes->split ? bytes->split->Cut(text, next) : next(text);
  }
  const auto* metaspace = std::get_if<Metaspace>(&stages_[stage]);
  CHECK(metaspace != nullptr);
  rewritten = absl::StrReplaceAll(AbslView(text), {{" ", metaspace->mark}});
  const bool wanted = metaspace->prepend == Metaspace::Prepend::kAlways ||
                      (metaspace->prepend == Metaspace::Prepend::kFirst && at_start);
  if (wanted && rewritten.compare(0, metaspace->mark.size(), metaspace->mark) != 0) {
    rewritten.insert(0, metaspace->mark);
  }
  begin = rewritten.data();
  return metaspace->split ? metaspace->split->Cut(rewritten, next) : next(rewritten);
}

}  // namespace headgate
